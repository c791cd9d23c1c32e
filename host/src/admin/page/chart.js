// A chart of one series.
//
// Enters: points of half a second each, the last value and the smallest and largest of it. Leaves: a line above a band, with axes where
// there is room for them.

import { clock, draw, number, rounded } from "./text.js";

const WINDOW_MS = 5 * 60 * 1000;

/** A point holds the samples of so long. */
const POINT_MS = 500;

/** How fast a counter rose over what is in view; where it began anew, from zero. */
export function rise(numbers) {
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
export function chart(svg, points, { low, high, width, height, isLarge, now_ms }) {
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
      // A point has the moment of its last value; its extremes lie anywhere in the half second before that.
      const middle = (t, i) => x(Math.max(start, t - Math.min(POINT_MS, i ? t - one[i - 1].t : POINT_MS) / 2));
      const upper = one.map(({ t, v, hi }, i) => `${middle(t, i)} ${y(Number.isFinite(hi) ? hi : v)}`);
      const lower = one.map(({ t, v, lo }, i) => `${middle(t, i)} ${y(Number.isFinite(lo) ? lo : v)}`).reverse();
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
