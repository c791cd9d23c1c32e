// What sticks out to the right, but for what lies in something that scrolls by itself.
const edge = document.documentElement.clientWidth + 1;
const scrolls = (element) => element && (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(element).overflowX)
    ? element.getBoundingClientRect().right <= edge : scrolls(element.parentElement));
return all('body *').filter((one) => isShown(one) && one.getBoundingClientRect().right > edge && !scrolls(one))
    .map((one) => `${one.outerHTML.slice(0, 120)} ends at ${one.getBoundingClientRect().right}`).slice(0, 5);
