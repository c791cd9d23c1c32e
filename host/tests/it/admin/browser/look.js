// What the tests' scripts begin with: the elements of the page that they know, by its contract.
const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const text = (selector) => one(selector).textContent.replace(/\s+/g, ' ').trim();
const delivers = () => one('#delivery').dataset.delivers;
const count = (stage) => Number(one(`#path [data-stage="${stage}"] [data-count]`).dataset.count);
const entry = (name) => all('#series button[data-series]').find((button) => button.dataset.series === name);
const chart = (name) => all('#charts figure[data-series]').find((figure) => figure.dataset.series === name);
const points = (name) => Number(chart(name).dataset.points);
const last = (name) => Number(one('[data-last]', chart(name)).dataset.last);
const errors = () => all('#errors li').map((item) => item.textContent);
const isShown = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true })
    && element.getClientRects().length > 0;
