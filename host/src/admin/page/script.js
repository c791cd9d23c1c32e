// What the status page does: asks the host each second while somebody looks, and shows the answer.
//
// Enters: status.json, series.json, history.json. Leaves: text and lines. What comes from the plugin or the receiver is only ever
// put in as text. Nothing is asked while the page is hidden; what has not changed is not touched, so that focus stays and
// nothing is read out twice.
"use strict";

const EVERY_MS = 1000;
const PATIENCE_MS = 5000;
const SEARCH_EVERY_MS = 5000;
const SEARCH_PATIENCE_MS = 10000;
const WINDOW_MS = 5 * 60 * 1000;
const RATE_OVER_MS = 15000;
const FIRST_IN_VIEW = 4;

const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function set(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Runs `render` only when what it shows has changed. */
const shown = new Map();
function whenChanged(key, value, render) {
  const text = JSON.stringify(value);
  if (shown.get(key) === text) return;
  shown.set(key, text);
  render();
}

// Numbers and times for people.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const rounded = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });

function number(value) {
  if (typeof value !== "number") return value === null ? "ended" : String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e15 || size < 1e-4)) return value.toExponential(4);
  return Number.isInteger(value) ? grouped.format(value) : rounded.format(value);
}

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) [count, unit] = [count / 1024, unit + 1];
  return `${unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

const plural = (count, one, many = `${one}s`) => `${grouped.format(count)} ${count === 1 ? one : many}`;

function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} days`;
}

const two = (n) => String(n).padStart(2, "0");

function clock(ms) {
  const at = new Date(ms);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const today = new Date();
  return at.toDateString() === today.toDateString() ? time : `${day} ${time}`;
}

// Rates: how fast totals grew in the last seconds.

const totals = [];

function noteTotals(status) {
  const path = status.path;
  totals.push({ at: status.now_ms, get_power: path.get_power.readings, process_data: path.process_data.readings,
    receiver: path.receiver.samples, dropped: path.dropped.samples });
  while (totals.length > 2 && totals[totals.length - 1].at - totals[0].at > RATE_OVER_MS) totals.shift();
}

function rate(name) {
  const [first, last] = [totals[0], totals[totals.length - 1]];
  if (totals.length < 2 || last.at <= first.at) return "";
  const perSecond = (last[name] - first[name]) * 1000 / (last.at - first.at);
  return perSecond < 0 ? "" : `${perSecond < 100 ? perSecond.toFixed(1) : grouped.format(perSecond)} a second`;
}

// What runs.

function showRuns({ host, plugin, now_ms }) {
  put($("host-version"), host.version);
  put($("plugin-name"), plugin ? plugin.name : "The plugin is being made");
  put($("plugin-version"), plugin ? plugin.version : "");
  const parts = [];
  if (host.instance) parts.push(`on ${host.instance}`);
  if (plugin && plugin.since_ms) {
    const is = { running: "runs", stalled: "hangs; runs", down: "does not run now; ran" }[plugin.state];
    parts.push(`${is} since ${clock(plugin.since_ms)} (${duration(now_ms - plugin.since_ms)})`);
  }
  if (plugin) {
    parts.push(plugin.is_isolated ? "in a process of its own" : "in the host's process");
    if (plugin.restarts) parts.push(plural(plugin.restarts, "restart"));
    if (plugin.stalls) parts.push(plural(plugin.stalls, "stall"));
  }
  parts.push(host.is_dry_run ? "dry run" : `to ${host.receiver_url}`);
  put($("runs-details"), parts.join(" · "));
  const title = [plugin ? plugin.name : "", host.instance].filter(Boolean).join(" on ");
  document.title = `${title || "monitor-host"} · monitor-host`;
}

// Whether it delivers.

const STATES = {
  good: ["yes", "Delivering"], troubled: ["yes", "Trouble"], bad: ["no", "Not delivering"], unreachable: ["unreachable", "Unreachable"],
};

function showDelivery(state, sentence, details, lookAt) {
  const [delivers, verdict] = STATES[state];
  set($("delivery"), "data-delivers", delivers);
  put($("verdict"), verdict);
  put($("sentence"), sentence);
  put($("details"), details);
  const banner = $("delivery").parentElement;
  const color = state === "unreachable" ? "bad" : state;
  if (banner.className !== `banner is-${color}`) banner.className = `banner is-${color}`;
  document.body.classList.toggle("is-stale", state === "unreachable");
  whenChanged("look-at", lookAt, () => $("look-at").replaceChildren(...lookAt.map((line) => make("li", {}, line))));
}

// The path as a picture. Queues are sunken and show how full they are.

const STAGES = [
  { name: "get_power", title: "get_power", of: (p) => ({ count: p.get_power.readings, under: ["readings taken", rate("get_power")],
    note: p.get_power.refused ? `${plural(p.get_power.refused, "reading")} refused` : "" }) },
  { name: "raw_queue", title: "raw queue", isQueue: true, of: (p) => queue(p.raw_queue.items, p.raw_queue.capacity, "reading") },
  { name: "process_data", title: "process_data", of: (p) => ({ count: p.process_data.readings,
    under: ["readings passed on", rate("process_data")],
    note: p.process_data.refused_sends ? `${plural(p.process_data.refused_sends, "send")} refused` : "" }) },
  { name: "processed_queue", title: "processed queue", isQueue: true,
    of: (p) => queue(p.processed_queue.items, p.processed_queue.capacity, "item") },
  { name: "batch", title: "batch", of: (p) => ({ count: p.batch.samples, under: ["samples so far", ""] }) },
  { name: "kept", title: "kept", isQueue: true, of: (p) => kept(p.kept) },
  { name: "receiver", title: "receiver", of: (p) => ({ count: p.receiver.samples, under: ["samples delivered", rate("receiver")],
    note: p.receiver.failed ? `${plural(p.receiver.failed, "push", "pushes")} failed` : "" }) },
];
const DROPPED = { name: "dropped", title: "dropped",
  of: (p) => ({ count: p.dropped.samples, under: [p.dropped.samples ? "samples lost" : "no sample lost", ""] }) };

function queue(items, capacity, what) {
  return { count: items, under: [`of ${plural(capacity, what)}`, ""], full: capacity ? items / capacity : 0 };
}

function kept({ samples, batches, bytes: size, max_batches, max_bytes, spool }) {
  if (spool) {
    const full = spool.max_bytes ? spool.bytes / spool.max_bytes : 0;
    return { count: samples, under: ["samples wait", `${bytes(spool.bytes)} of ${bytes(spool.max_bytes)}`], full };
  }
  const full = Math.max(max_batches ? batches / max_batches : 0, max_bytes ? size / max_bytes : 0);
  return { count: samples, under: ["samples wait", `${plural(batches, "batch", "batches")}, ${bytes(size)}`], full };
}

const path = { width: 0, stages: new Map() };

/** Draws the stages anew for a width: side by side, or one below the other. */
function layPath() {
  const width = Math.floor($("path").clientWidth);
  if (!width || width === path.width) return;
  path.width = width;
  path.stages.clear();
  const wide = width >= 1000;
  const gap = wide ? Math.max(16, width * 0.018) : 18;
  const box = wide ? { width: (width - gap * (STAGES.length - 1)) / STAGES.length, height: 96 } : { width, height: width < 560 ? 74 : 58 };
  const place = (i) => (wide ? [i * (box.width + gap), 0] : [0, i * (box.height + gap)]);
  const wires = draw("g", { "aria-hidden": "true" });
  const groups = STAGES.map((stage, i) => {
    const [x, y] = place(i);
    if (i > 0) {
      const d = wide ? `M${x - gap + 1} ${box.height / 2}H${x - 5}` : `M24 ${y - gap + 1}V${y - 5}`;
      const tip = wide ? `M${x - 1} ${box.height / 2}l-6 -3.5v7z` : `M24 ${y - 1}l-3.5 -6h7z`;
      wires.append(draw("path", { class: "wire", d }), draw("path", { class: "tip", d: tip }));
    }
    return stageGroup(stage, x, y, box, wide);
  });
  const below = wide ? { width, height: 42, isStrip: true } : box;
  const [x, y] = wide ? [0, box.height + 26] : place(STAGES.length);
  const from = wide ? box.height : y - gap;
  // Every stage from process_data on may drop.
  for (const at of wide ? [2, 3, 4, 5, 6].map((i) => place(i)[0] + box.width / 2) : [24]) {
    wires.append(draw("path", { class: "wire off", d: `M${at} ${from + 1}V${y - 1}` }));
  }
  groups.push(stageGroup(DROPPED, x, y, below, false));
  const svg = $("path");
  set(svg, "height", y + below.height + 2);
  svg.replaceChildren(wires, ...groups);
}

function stageGroup(stage, x, y, box, wide) {
  const group = draw("g", { "data-stage": stage.name, role: "img", transform: `translate(${x + 1} ${y + 1})`,
    class: stage.isQueue ? "queue" : "" });
  const [width, height] = [box.width - 2, box.height];
  const left = wide ? 10 : 12;
  const text = (attributes, content = "") => draw("text", { x: left, ...attributes }, content);
  // Side by side the count stands below the name, else at the end of the line.
  const top = wide ? 21 : height < 58 ? 17 : 23;
  const lines = wide ? [63, 79] : height < 70 ? [top + 17] : [top + 17, top + 33];
  const end = box.isStrip ? { x: 150 } : { x: width - 12, "text-anchor": "end" };
  const count = text({ ...(wide ? { y: 44 } : { ...end, y: height / 2 + 6 }), "data-count": 0 }, "0");
  const under = lines.map((line) => text({ class: "under", y: line }));
  group.append(draw("rect", { class: "box", width, height, rx: 8 }), text({ class: "name", y: top }, stage.title), count, ...under);
  let bar = null;
  if (stage.isQueue) {
    const at = { x: left, y: height - 8, height: 3, rx: 1.5 };
    bar = draw("rect", { class: "fill", width: 0, ...at });
    group.append(draw("rect", { class: "track", width: width - 2 * left, ...at }), bar);
  }
  path.stages.set(stage.name, { group, count, under, bar, room: width - 2 * left });
  return group;
}

function showPath(status) {
  layPath();
  const bad = new Set();
  if (status.plugin.state !== "running" && !status.host.is_ending) bad.add("get_power").add("process_data");
  if (status.path.receiver.failed + status.path.receiver.refused > 0 && (!status.delivery.delivers || status.delivery.is_troubled)) {
    bad.add("receiver");
  }
  if (status.path.dropped.samples) bad.add("dropped");
  for (const stage of [...STAGES, DROPPED]) {
    const parts = path.stages.get(stage.name);
    if (!parts) continue;
    const { count, under, note = "", full = 0 } = stage.of(status.path);
    put(parts.count, grouped.format(count));
    set(parts.count, "data-count", count);
    const lines = [under[0], note || under[1]].filter(Boolean);
    if (parts.under.length === 1) {
      put(parts.under[0], lines.join(" · "));
    } else {
      parts.under.forEach((line, i) => put(line, lines[i] || ""));
    }
    set(parts.group, "aria-label", `${stage.title}: ${grouped.format(count)} ${lines.join(", ")}`);
    parts.group.classList.toggle("bad", bad.has(stage.name));
    parts.group.classList.toggle("nearly-full", full > 0.8);
    if (parts.bar) parts.bar.style.width = `${Math.min(1, full) * parts.room}px`;
  }
  const reasons = status.path.dropped.reasons;
  whenChanged("reasons", reasons, () => {
    $("reasons").replaceChildren(...reasons.map(([reason, count]) => make("li", {}, `${reason}: ${grouped.format(count)}`)));
  });
}

// Series: a list to choose from, and those that are in view.

const list = { asked: 0, isAsking: false, found: [], wanted: null, again: 0, chosen: false };
/** By id: text, kind, points, and the parts of its figure. */
const view = new Map();
let largest = null;
let limits = { point_ms: 500, max_points: 600, max_series: 64 };

/** Beside the turn, which waits for nothing here: of a million series a search takes a while. */
async function search() {
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
  whenChanged("list", [list.found.map((one) => one.id)], () => {
    const focused = $("series").contains(document.activeElement) ? document.activeElement.dataset.series : null;
    $("series").replaceChildren(...list.found.map((one) => {
      const button = make("button", { type: "button", "data-series": one.text, "aria-pressed": false }, ...nameParts(one.text));
      button.addEventListener("click", () => {
        if (view.has(one.id)) remove(one.id); else add(one);
        refresh();
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
  const large = make("button", { type: "button", "aria-pressed": false, "aria-label": `Enlarge ${one.text}` }, "Enlarge");
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

async function askHistory() {
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

let newest = 0;

function showCharts(now_ms = newest) {
  newest = now_ms;
  $("no-charts").hidden = view.size > 0;
  for (const one of view.values()) {
    const isLarge = one.id === largest;
    one.figure.classList.toggle("large", isLarge);
    set(one.large, "aria-pressed", isLarge);
    put(one.large, isLarge ? "Reduce" : "Enlarge");
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

/** How fast a counter rose over what is in view; where it began anew, from zero. */
function rise(numbers) {
  if (numbers.length < 2) return "–";
  let sum = 0;
  for (let i = 1; i < numbers.length; i += 1) {
    const step = numbers[i].v - numbers[i - 1].v;
    sum += step < 0 ? numbers[i].v : step;
  }
  const seconds = (numbers[numbers.length - 1].t - numbers[0].t) / 1000;
  return seconds > 0 ? `${number(Number((sum / seconds).toPrecision(5)))} a second` : "–";
}

/** The line of last values, above the band from the smallest to the largest; a gap where none came. */
function chart(svg, points, { low, high, width, height, isLarge, now_ms }) {
  const end = Math.abs(now_ms - points[points.length - 1].t) < WINDOW_MS ? Math.max(now_ms, points[points.length - 1].t)
    : points[points.length - 1].t;
  const start = Math.max(Math.min(points[0].t, end - 30000), end - WINDOW_MS);
  const drawn = points.filter(({ t }) => t >= start);
  if (!(low <= high)) [low, high] = [0, 0];
  const space = (high - low) * 0.06 || Math.abs(high) * 0.02 || 1;
  const [bottom, top] = [low - space, high + space];
  const frame = isLarge ? { left: 64, right: width - 6, top: 8, bottom: height - 24 } : { left: 2, right: width - 4, top: 3, bottom: height - 3 };
  const x = (t) => (frame.left + (t - start) / (end - start) * (frame.right - frame.left)).toFixed(1);
  const y = (v) => (frame.bottom - (v - bottom) / (top - bottom) * (frame.bottom - frame.top)).toFixed(1);
  const parts = isLarge ? axes(frame, { start, end, bottom, top }, x, y) : [];
  const steps = drawn.slice(1).map(({ t }, i) => t - drawn[i].t).sort((a, b) => a - b);
  const gap = Math.max(2500, 4 * (steps[Math.floor(steps.length / 2)] || 0));
  let runs = [];
  let run = [];
  drawn.forEach((point, i) => {
    if (i > 0 && point.t - drawn[i - 1].t > gap) [runs, run] = [[...runs, run], []];
    if (typeof point.v === "number") run.push(point); else [runs, run] = [[...runs, run], []];
  });
  runs = [...runs, run].filter((one) => one.length);
  for (const one of runs) {
    if (one.some(({ lo, hi }) => Number.isFinite(lo) && Number.isFinite(hi) && lo !== hi)) {
      const upper = one.map(({ t, v, hi }) => `${x(t)} ${y(Number.isFinite(hi) ? hi : v)}`);
      const lower = one.map(({ t, v, lo }) => `${x(t)} ${y(Number.isFinite(lo) ? lo : v)}`).reverse();
      parts.push(draw("path", { class: "band", d: `M${[...upper, ...lower].join("L")}Z` }));
    }
    parts.push(draw("path", { class: "line", d: `M${one.map(({ t, v }) => `${x(t)} ${y(v)}`).join("L")}` }));
  }
  const last = runs.length ? runs[runs.length - 1] : [];
  if (last.length) {
    const { t, v } = last[last.length - 1];
    parts.push(draw("circle", { class: "dot", cx: x(t), cy: y(v), r: 2.5 }));
  }
  svg.replaceChildren(...parts);
}

function axes(frame, { start, end, bottom, top }, x, y) {
  const parts = [];
  const rough = (top - bottom) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  for (let v = Math.ceil(bottom / step) * step, n = 0; v <= top && n < 12; v += step, n += 1) {
    const label = Number(v.toPrecision(12));
    parts.push(draw("path", { class: "grid", d: `M${frame.left} ${y(v)}H${frame.right}` }),
      draw("text", { x: frame.left - 8, y: Number(y(v)) + 4, "text-anchor": "end" }, short(label)));
  }
  const every = [5000, 10000, 30000, 60000, 120000].find((one) => (end - start) / one <= (frame.right - frame.left) / 70) || 300000;
  for (let t = Math.ceil(start / every) * every; t <= end; t += every) {
    const at = Number(x(t));
    parts.push(draw("path", { class: "grid", d: `M${at} ${frame.bottom}v4` }));
    // Where it would reach beyond the edge, the mark alone.
    if (at < frame.right - 20) parts.push(draw("text", { x: at, y: frame.bottom + 18, "text-anchor": "middle" }, clock(t).slice(-8)));
  }
  return parts;
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) {
    const text = value.toExponential();
    return text.length > 9 ? value.toExponential(4) : text;
  }
  return rounded.format(value);
}

// The last warnings and errors, and the settings.

function showErrors(errors) {
  $("no-errors").hidden = errors.length > 0;
  whenChanged("errors", errors, () => {
    $("errors").replaceChildren(...errors.map((one) => {
      const when = make("p", { class: "when" }, make("time", { datetime: new Date(one.last_ms).toISOString() }, clock(one.last_ms)));
      if (one.times > 1) when.append(make("br"), `${plural(one.times, "time")} since ${clock(one.first_ms)}`);
      const stage = `${one.level === "ERROR" ? "Error" : "Warning"} · ${one.stage}`;
      const told = make("div", {}, make("p", { class: "stage" }, stage), make("p", { class: "said" }, one.text));
      if (one.details) told.append(make("p", { class: "details" }, one.details));
      return make("li", { class: one.level === "ERROR" ? "is-error" : "is-warning" }, when, told);
    }));
  });
}

function showSettings(settings) {
  whenChanged("settings", settings, () => {
    const groups = new Map();
    for (const one of settings) {
      const value = one.is_hidden ? "set, not shown" : one.value === null ? "unset" : one.value;
      const row = make("tr", { "data-name": one.name, "data-value": value, class: one.from === "default" ? "" : "is-set" },
        make("th", { scope: "row" }, one.name), make("td", { "data-value": value }, value),
        make("td", {}, one.from === "default" ? "" : one.from));
      if (!groups.has(one.group)) groups.set(one.group, make("tbody"));
      groups.get(one.group).append(row);
    }
    $("settings").replaceChildren(...[...groups].map(([group, rows]) => make("table", {}, make("caption", {}, group), rows)));
  });
}

// Asking.

async function ask(what, patience_ms = PATIENCE_MS) {
  const response = await fetch(what, { cache: "no-store", signal: AbortSignal.timeout(patience_ms) });
  if (!response.ok) throw new Error(`${what}: ${response.status}`);
  return response.json();
}

let timer = 0;
let isAsking = false;
let misses = 0;
let run = null;
let seenAt = null;

async function turn() {
  clearTimeout(timer);
  if (isAsking || document.visibilityState !== "visible") return;
  isAsking = true;
  const began = performance.now();
  try {
    const status = await ask("status.json");
    [misses, seenAt] = [0, status.now_ms];
    showStatus(status);
    if (status.plugin) {
      search();
      await askHistory();
    }
  } catch (error) {
    console.debug(error);
    misses += 1;
    if (misses > 1 || seenAt === null) {
      const of = seenAt === null ? "" : ` What is shown is of ${clock(seenAt)}.`;
      showDelivery("unreachable", `This page can't reach monitor-host: it has ended, or the way to it is cut.${of}`, "", []);
    }
  }
  isAsking = false;
  if (document.visibilityState === "visible") timer = setTimeout(turn, Math.max(100, EVERY_MS - (performance.now() - began)));
}

function showStatus(status) {
  const { host, delivery } = status;
  if (run && run.version !== host.version) location.reload();
  if (run && run.began_ms !== host.began_ms) forgetRun();
  run = { version: host.version, began_ms: host.began_ms };
  showRuns(status);
  const state = !delivery.delivers ? "bad" : delivery.is_troubled ? "troubled" : "good";
  showDelivery(state, delivery.sentence, delivery.details, delivery.look_at);
  if (status.path) {
    noteTotals(status);
    showPath(status);
  }
  showErrors(status.errors);
  showSettings(status.settings);
}

/** Another run: its series have other numbers, its totals begin anew. */
function forgetRun() {
  totals.length = 0;
  [...view.keys()].forEach(remove);
  Object.assign(list, { found: [], chosen: false, wanted: null });
}

/** At once, when somebody has chosen or typed something. */
function refresh() {
  showList();
  showCharts();
  setTimeout(turn, 0);
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
document.addEventListener("visibilitychange", turn);
new ResizeObserver(() => { layPath(); showCharts(); }).observe(document.body);
turn();
