// The bar: site and clocks, badges, alarms by priority, and HOLD, which a press of one second places.

import { element } from "/static/dom.js";
import { age, clock, count, wallTime } from "/static/text.js";

const PRESS_MS = 1000;
const ANSWER_MS = 20e3;
const LEVELS = { // any other state is bad
  RUNNING: "normal", SHADOW: "normal", STARTING: "wait", HOLD: "warn", "HOLD ENDED": "warn",
  "FALLBACK: safe rule": "warn", "FALLBACK: earlier plan": "warn", "PLANT ENDED": "warn",
};
const PRIORITIES = [["high", "▲", "bad"], ["medium", "◆", "warn"], ["low", "●", "low"]];
const OLD_S = 60; // six periods of a heartbeat

const part = (name) => document.getElementById(name);
const say = (name, text) => { if (part(name).textContent !== text) part(name).textContent = text; };

// Show a state; null for a service that does not answer.
export function showBar(state) {
  badge("word", state?.state ?? "NO ANSWER", LEVELS[state?.state] ?? "bad");
  part("word").dataset.shadow = Boolean(state?.is_shadow);
  badge("link", state?.link ?? "–", state?.link === "connected" ? "normal" : "bad");
  const newest = state?.data_age?.newest_s ?? null;
  badge("age", newest === null ? "–" : age(newest), newest === null || newest > OLD_S ? "warn" : "normal");
  showTime();
  if (!state) return;
  say("name", state.site);
  say("hold-site", state.site);
  say("plant", state.time ? `· plant ${clock(state.time)}${state.clock === "simulated" ? " simulated" : ""}` : "");
  showCounts(state.alarms ?? []);
}

function badge(name, text, level) {
  say(name, text);
  part(name).dataset.level = level;
}

function showCounts(alarms) {
  const counted = PRIORITIES.map(([severity, mark, tone]) => {
    const number = alarms.filter((alarm) => alarm.severity === severity).length;
    return element("span", number ? { class: tone } : {}, `${mark} ${count(number)} ${severity}`);
  });
  part("counts").replaceChildren(...counted);
}

export function showTime() {
  say("wall", wallTime(new Date()));
}

// A press of one second by mouse, finger, space bar or Enter; a shorter one changes nothing.
export function setUpHold(place) {
  const button = part("hold");
  let timer = null;
  const begin = () => {
    if (timer !== null || button.disabled) return;
    button.classList.add("pressed");
    timer = setTimeout(() => { end(); place(); }, PRESS_MS);
  };
  const end = () => {
    clearTimeout(timer);
    timer = null;
    button.classList.remove("pressed");
  };
  const cancel = () => {
    if (timer !== null) showAnswer("No HOLD was placed: keep the button pressed for one second.");
    end();
  };
  button.addEventListener("pointerdown", (event) => { if (event.button === 0) begin(); });
  for (const name of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(name, cancel);
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // of a long touch
  button.addEventListener("keydown", (event) => {
    if (![" ", "Enter"].includes(event.key)) return;
    event.preventDefault();
    if (!event.repeat) begin();
  });
  button.addEventListener("keyup", (event) => { if ([" ", "Enter"].includes(event.key)) cancel(); });
}

let hiding = 0;

export function showAnswer(text, isBad = false) {
  clearTimeout(hiding);
  say("answer", text);
  part("answer").classList.toggle("bad", isBad);
  part("answer").hidden = false;
  if (!isBad) hiding = setTimeout(() => { part("answer").hidden = true; }, ANSWER_MS);
}
