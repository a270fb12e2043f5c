// Measured values of the stream /events, each with its age; a stale one, or a silent stream, is marked.

import { element } from "/static/dom.js";
import { age, amount, words } from "/static/text.js";

const REOPEN_MS = 5000; // after a refusal, which a browser does not repeat by itself
const SILENT_S = 10; // events come each second
const NAMES = { grid_power: "grid power", battery_level: "battery", tank_level: "tank" };
const UNITS = { degC: "°C" };
let source = null;
let last = null; // the last event, and when it came by the browser's clock [ms]
let receivedAt = 0;

function open() {
  source = new EventSource("/events");
  source.addEventListener("message", (event) => {
    last = JSON.parse(event.data);
    receivedAt = performance.now();
    show();
  });
  source.addEventListener("error", () => {
    if (source?.readyState === EventSource.CLOSED) setTimeout(reopen, REOPEN_MS);
  });
}

function close() {
  source?.close();
  source = null;
}

function reopen() {
  close();
  if (!document.hidden) open();
}

function show() {
  const silence = last ? (performance.now() - receivedAt) / 1000 : null;
  const isSilent = silence === null || silence > SILENT_S;
  const rows = (last?.values ?? []).map((value) => row(value, isSilent, silence));
  const place = document.querySelector("#live .body");
  place.replaceChildren(rows.length ? element("ul", { class: "live" }, ...rows)
    : element("p", { class: "empty" }, last ? "No quantity has been received yet." : "Waiting for the first values."));
}

function row({ name, value, unit, age_s: seconds, is_stale: isStale }, isSilent, silence) {
  const isOld = isStale || isSilent;
  const old = seconds === null ? "never received" : `${age(seconds + silence)} old`;
  return element("li", isOld ? { class: "stale" } : {},
    element("span", {}, NAMES[name] ?? words(name)),
    element("b", {}, amount(value, UNITS[unit] ?? unit)),
    element("span", { class: "quiet" }, isOld ? `⚠ stale: ${old}` : old));
}

// A hidden page frees its stream: browsers open at most six connections to one address.
export function followLiveValues() {
  document.addEventListener("visibilitychange", reopen);
  reopen();
  setInterval(show, 1000);
}
