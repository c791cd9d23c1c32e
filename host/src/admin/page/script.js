// What the status page does: asks the host each second while somebody looks, and shows the answer.
//
// Enters: status.json; series.js asks for the series. Leaves: what runs, whether it delivers, the last warnings and errors, the
// settings; path.js draws the path. Nothing is asked while the page is hidden.

import { layAnew, showPath } from "./path.js";
import { askHistory, forgetSeries, search, showCharts } from "./series.js";
import { $, ask, clock, duration, make, plural, put, set, whenChanged } from "./text.js";

const EVERY_MS = 1000;

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
  // Another run: its series have other numbers.
  if (run && run.began_ms !== host.began_ms) forgetSeries();
  run = { version: host.version, began_ms: host.began_ms };
  showRuns(status);
  const state = !delivery.delivers ? "bad" : delivery.is_troubled ? "troubled" : "good";
  showDelivery(state, delivery.sentence, delivery.details, delivery.look_at);
  if (status.path) showPath(status);
  showErrors(status.errors);
  showSettings(status.settings);
}

document.addEventListener("look", () => setTimeout(turn, 0));
document.addEventListener("visibilitychange", turn);
new ResizeObserver(() => { layAnew(); showCharts(); }).observe(document.body);
turn();
