// Series: a list to choose from, and those that are in view.
//
// Enters: series.json for what is typed, history.json for what is chosen. Leaves: buttons, figures; and an event `look` when what is in
// view has changed by hand.

import { chart, rise } from "./chart.js";
import { $, ask, draw, duration, grouped, make, number, plural, put, set, whenChanged } from "./text.js";

const SEARCH_EVERY_MS = 5000;
const SEARCH_PATIENCE_MS = 10000;
const FIRST_IN_VIEW = 4;

const list = { asked: 0, isAsking: false, found: [], wanted: null, again: 0, chosen: false };
/** By id: text, kind, points, and the parts of its figure. */
const view = new Map();
let largest = null;
let limits = { point_ms: 500, max_points: 600, max_series: 64 };

/** Beside the turn, which waits for nothing here: of a million series a search takes a while. */
export async function search() {
  const wanted = $("search").value.trim();
  if (list.isAsking || (wanted === list.wanted && performance.now() - list.asked < SEARCH_EVERY_MS)) return;
  Object.assign(list, { isAsking: true, wanted, asked: performance.now() });
  try {
    showFound(wanted, await ask(`series.json?limit=100&q=${encodeURIComponent(wanted)}`, SEARCH_PATIENCE_MS));
  } catch (error) {
    console.debug(error);
    put($("series-total"), "The list does not come just now; it is asked for again.");
  }
  list.isAsking = false;
}

function showFound(wanted, answer) {
  list.found = answer.series;
  const all = `${plural(answer.known, "series", "series")}`;
  const atLeast = answer.is_complete ? "" : "at least ";
  const some = wanted ? `${atLeast}${grouped.format(answer.matching)} of ${all}` : all;
  put($("series-total"), answer.series.length < answer.matching ? `${some}, the first ${answer.series.length} are shown` : some);
  if (!list.chosen && !wanted && answer.series.length) {
    list.chosen = true;
    const own = (one) => one.text.startsWith("monitor_client_");
    const first = answer.series.filter((one) => !own(one));
    (first.length ? first : answer.series).slice(0, FIRST_IN_VIEW).forEach(add);
    largest = [...view.keys()][0];
  }
  showList();
}

function showList() {
  // By their texts too: the next run gives the same ids to other series.
  whenChanged("list", [list.found.map(({ id, text, kind }) => [id, text, kind])], () => {
    const focused = $("series").contains(document.activeElement) ? document.activeElement.dataset.series : null;
    $("series").replaceChildren(...list.found.map((one) => {
      const button = make("button", { type: "button", "data-series": one.text, "aria-pressed": false }, ...nameParts(one.text));
      button.addEventListener("click", () => {
        if (view.has(one.id)) remove(one.id); else add(one);
        showList();
        showCharts();
        document.dispatchEvent(new Event("look"));
      });
      return make("li", {}, button);
    }));
    if (focused !== null) [...$("series").querySelectorAll("button")].find((one) => one.dataset.series === focused)?.focus();
  });
  [...$("series").children].forEach((item, i) => set(item.firstChild, "aria-pressed", view.has(list.found[i].id)));
}

function nameParts(text) {
  const at = text.indexOf("{");
  const [metric, labels] = at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at)];
  const inner = make("span", { class: "series-name", title: text }, make("span", { class: "metric" }, metric));
  // Lines break between labels where they can.
  const parts = labels.split(/(?<=",)/).flatMap((label, i) => (i ? [make("wbr"), label] : [label]));
  if (labels) inner.append(make("span", { class: "labels" }, ...parts));
  return [inner];
}

function add(one) {
  if (view.has(one.id)) return;
  if (view.size >= limits.max_series) {
    put($("charts-note"), `At most ${limits.max_series} series can be in view: take another one out first.`);
    return;
  }
  const large = make("button", { type: "button", "aria-label": `Enlarge ${one.text}` }, "Enlarge");
  const close = make("button", { type: "button", "aria-label": `Take out ${one.text}` }, "Take out");
  large.addEventListener("click", () => {
    largest = largest === one.id ? null : one.id;
    if (largest) $("charts").prepend(figure);
    large.focus();
    showCharts();
  });
  close.addEventListener("click", () => { remove(one.id); showCharts(); $("search").focus(); });
  const svg = draw("svg", { role: "img" });
  const values = make("dl");
  const parts = {};
  const names = one.kind === 1 ? ["last", "rise", "min", "max"] : ["last", "min", "max"];
  for (const name of names) {
    parts[name] = make("dd", name === "last" ? { "data-last": "" } : {}, "–");
    values.append(make("div", {}, make("dt", {}, name), parts[name]));
  }
  const empty = make("p", { class: "empty" }, "Waiting for its next sample.");
  const figure = make("figure", { "data-series": one.text, "data-points": 0 },
    make("figcaption", {}, ...nameParts(one.text), make("div", { class: "tools" }, large, close)), svg, values, empty);
  view.set(one.id, { ...one, points: [], state: "kept", figure, svg, parts, empty, large });
  $("charts").append(figure);
  put($("charts-note"), "");
}

function remove(id) {
  const one = view.get(id);
  if (!one) return;
  one.figure.remove();
  view.delete(id);
  if (largest === id) largest = null;
  put($("charts-note"), "");
  showList();
}

export async function askHistory() {
  if (!view.size) return;
  const ids = [...view.values()].map(({ id, points }) => `id=${id}:${points.length ? points[points.length - 1].t : 0}`);
  const answer = await ask(`history.json?${ids.join("&")}`);
  limits = answer;
  const number = (t) => Math.floor(t / answer.point_ms);
  for (const { id, state, has_histograms, points } of answer.series) {
    const one = view.get(id);
    if (!one) continue;
    Object.assign(one, { state, has_histograms });
    if (!points.length) continue;
    while (one.points.length && number(one.points[one.points.length - 1].t) >= number(points[0][0])) one.points.pop();
    for (const [t, v, lo = v, hi = v] of points) one.points.push({ t, v, lo, hi });
    one.points.splice(0, one.points.length - answer.max_points);
  }
  const refused = answer.series.filter((one) => one.state === "refused").length;
  if (refused) {
    put($("charts-note"), `${plural(refused, "series", "series")} can't be followed: ${answer.max_series} are followed already, for all ` +
      "who look at this page.");
  }
  showCharts(answer.now_ms);
}

export function forgetSeries() {
  [...view.keys()].forEach(remove);
  Object.assign(list, { found: [], chosen: false, wanted: null });
}

let newest = 0;

export function showCharts(now_ms = newest) {
  newest = now_ms;
  $("no-charts").hidden = view.size > 0;
  for (const one of view.values()) {
    const isLarge = one.id === largest;
    one.figure.classList.toggle("large", isLarge);
    put(one.large, isLarge ? "Reduce" : "Enlarge");
    set(one.large, "aria-label", `${one.large.textContent} ${one.text}`);
    set(one.figure, "data-points", one.points.length);
    showOne(one, isLarge, now_ms);
  }
}

function showOne(one, isLarge, now_ms) {
  const { points, svg, parts, empty, text } = one;
  const why = one.state === "gone" ? "The series has ended." : one.state === "refused" ? "Not followed: too many series are in view."
    : points.length ? "" : one.has_histograms ? "It sends native histograms, which are not drawn here." : "Waiting for its next sample.";
  put(empty, why);
  empty.hidden = !why;
  const numbers = points.filter((point) => typeof point.v === "number");
  const low = Math.min(...points.map(({ lo }) => lo).filter(Number.isFinite));
  const high = Math.max(...points.map(({ hi }) => hi).filter(Number.isFinite));
  const last = points.length ? points[points.length - 1].v : undefined;
  if (last !== undefined) {
    put(parts.last, number(last));
    set(parts.last, "data-last", last === null ? "ended" : last);
  }
  if (low <= high) {
    put(parts.min, number(low));
    put(parts.max, number(high));
  }
  if (parts.rise) put(parts.rise, rise(numbers));
  set(svg, "aria-label", last === undefined ? `${text}: no sample yet`
    : `${text}: last ${number(last)}, from ${number(low)} to ${number(high)} in ${duration(now_ms - points[0].t)}`);
  const width = Math.floor(svg.clientWidth);
  const height = Math.floor(svg.clientHeight);
  if (!width || !height || !points.length) return svg.replaceChildren();
  chart(svg, points, { low, high, width, height, isLarge, now_ms });
}

$("search").addEventListener("input", () => {
  clearTimeout(list.again);
  list.again = setTimeout(search, 250);
});
$("series").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...$("series").querySelectorAll("button")];
  const next = buttons[buttons.indexOf(document.activeElement) + step];
  if (next) next.focus();
  event.preventDefault();
});
