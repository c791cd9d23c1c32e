// What all parts of the page need: elements, numbers and times for people, and the way to ask the host.
//
// Texts of others enter as text only, by append and textContent; what has not changed is not touched, so that focus stays and nothing
// is read out twice.

const PATIENCE_MS = 5000;

const SVG = "http://www.w3.org/2000/svg";
export const $ = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function set(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Runs `render` only when what it shows has changed. */
const shown = new Map();
export function whenChanged(key, value, render) {
  const text = JSON.stringify(value);
  if (shown.get(key) === text) return;
  shown.set(key, text);
  render();
}

// Numbers and times for people.

export const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const rounded = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });

export function number(value) {
  if (typeof value !== "number") return value === null ? "ended" : String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e15 || size < 1e-4)) return value.toExponential(4);
  return Number.isInteger(value) ? grouped.format(value) : rounded.format(value);
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) [count, unit] = [count / 1024, unit + 1];
  return `${unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

export const plural = (count, one, many = `${one}s`) => `${grouped.format(count)} ${count === 1 ? one : many}`;

export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} days`;
}

const two = (n) => String(n).padStart(2, "0");

export function clock(ms) {
  const at = new Date(ms);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const today = new Date();
  return at.toDateString() === today.toDateString() ? time : `${day} ${time}`;
}

// Asking.

export async function ask(what, patience_ms = PATIENCE_MS) {
  const response = await fetch(what, { cache: "no-store", signal: AbortSignal.timeout(patience_ms) });
  if (!response.ok) throw new Error(`${what}: ${response.status}`);
  return response.json();
}
