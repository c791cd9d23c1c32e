// The path of a sample as a picture.
//
// Enters: an answer of status.json. Leaves: a box for each stage with its count, how full queues are, how fast totals grow.

import { $, bytes, draw, grouped, make, plural, put, set, whenChanged } from "./text.js";

const RATE_OVER_MS = 15000;

// The stages. Queues are sunken and show how full they are.

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
/** What it shows, for when it is laid out anew. */
let newest = null;

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

export function showPath(status) {
  newest = status;
  noteTotals(status);
  layAnew();
}

/** The same again, for another width. */
export function layAnew() {
  if (newest) showCounts(newest);
}

function showCounts(status) {
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

// Rates: how fast totals grew in the last seconds.

const totals = [];

function noteTotals({ host, now_ms, path }) {
  // In another run they begin anew.
  if (totals.length && totals[0].run !== host.began_ms) totals.length = 0;
  totals.push({ run: host.began_ms, at: now_ms, get_power: path.get_power.readings, process_data: path.process_data.readings,
    receiver: path.receiver.samples, dropped: path.dropped.samples });
  while (totals.length > 2 && totals[totals.length - 1].at - totals[0].at > RATE_OVER_MS) totals.shift();
}

function rate(name) {
  const [first, last] = [totals[0], totals[totals.length - 1]];
  if (totals.length < 2 || last.at <= first.at) return "";
  const perSecond = (last[name] - first[name]) * 1000 / (last.at - first.at);
  return perSecond < 0 ? "" : `${perSecond < 100 ? perSecond.toFixed(1) : grouped.format(perSecond)} a second`;
}
