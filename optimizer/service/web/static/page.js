// Poll the service every two seconds, show its state, and send it the orders of a person.

import { element } from "/static/dom.js";
import { setUpHold, showAnswer, showBar, showTime } from "/static/bar.js";
import { followLiveValues } from "/static/live.js";
import { showCards } from "/static/status_cards.js";
import { showCharts } from "/static/status_charts.js";
import { age, amount, clock, moment, localised, span, useZone, wallClock } from "/static/text.js";

const POLL_MS = 2000;
const TIMEOUT_MS = 5000;
const part = (name) => document.getElementById(name);
let tag = "";
let answeredAt = null; // Date by the clock of this computer
let lastWord = "";
let isPartial = false; // whether a part of the last answer could not be shown
let next = 0;
let newest = 0; // number of the last poll

async function poll() {
  clearTimeout(next);
  const number = ++newest;
  let state = null;
  try {
    const answer = await fetch("/state.json", { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {}, signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (answer.status === 200) {
      state = await answer.json();
    } else if (answer.status !== 304) {
      throw new Error(`it answers with error ${answer.status}`);
    }
    if (number !== newest) return; // an order has polled since: this answer may be older than it
    answeredAt = new Date();
    if (state) {
      show(state);
      tag = answer.headers.get("ETag") ?? "";
      document.documentElement.dataset.status = tag; // what is shown, for tests
    } else if (!isPartial) part("silence").hidden = true;
  } catch (error) {
    if (number !== newest) return;
    tag = ""; // request a whole answer next
    silence(error);
  }
  next = setTimeout(poll, POLL_MS);
}

function silence(error) {
  const since = answeredAt ? `since ${wallClock(answeredAt)} by this computer's clock; all below is as old as that` : "yet";
  const why = error.message.startsWith("it answers") ? ` (${error.message})` : "";
  say("silence", `No answer from the service ${since}${why}. The plant's local control goes on by itself. On the machine of the service, try: gigatwin status.`);
  part("silence").hidden = false;
  showBar(null);
  say("why", lastWord ? `Last state: ${lastWord}.` : "It has not answered since this page was opened.");
}

function show(state) {
  useZone(state.time_zone ?? "UTC");
  document.title = `${state.state} – ${state.site}`;
  say("site", state.title ? `${state.site} – ${state.title.replace(new RegExp(`^${state.site}: `, "i"), "")}` : state.site);
  say("clock", `${state.time ? moment(state.time) : "no time yet"}${state.clock === "simulated" ? ", simulated clock" : ""}`);
  part("synthetic").hidden = !state.is_synthetic;
  showBar(state);
  lastWord = state.state;
  part("alarms").classList.toggle("high", (state.alarms ?? []).some(({ severity }) => severity === "high"));
  const faults = [() => showReason(state), () => showHolds(state.holds ?? []), () => showCards(state), () => showCharts(state)].flatMap(faultOf);
  isPartial = faults.length > 0;
  part("silence").hidden = !isPartial;
  if (isPartial) say("silence", `The service answers, but this page cannot show all of its answer (${faults.join("; ")}). For the rest try: gigatwin status.`);
}

// An error of the page in one part must not hide the other parts.
function faultOf(draw) {
  try {
    draw();
    return [];
  } catch (error) {
    return [error.message];
  }
}

// The reason takes two lines; a click shows the rest.
function showReason(state) {
  const now = Date.parse(state.time);
  part("targets").replaceChildren(...(state.asked ?? [])
    .filter(({ begin, end }) => Date.parse(begin) <= now && now < Date.parse(end))
    .map((row) => element("li", { class: row.is_kept ? "warn" : "bad" }, `Load target of ${row.partner} in force: ${closed(row.words)}`)));
  say("why", why(state));
  say("draws", draws(state, now));
  fitReason();
}

function fitReason() {
  const [text, more] = [part("why"), part("more")];
  const isOpen = more.getAttribute("aria-expanded") === "true";
  text.classList.add("clamped");
  more.hidden = text.scrollHeight <= text.clientHeight + 1;
  text.classList.toggle("clamped", more.hidden || !isOpen);
}

function toggleReason() {
  const isOpen = part("more").getAttribute("aria-expanded") !== "true";
  part("more").setAttribute("aria-expanded", isOpen);
  say("more", isOpen ? "Show less" : "Show all");
  fitReason();
}

// Change a text only if it differs, so that screen readers announce changes only.
function say(name, text) {
  if (part(name).textContent !== text) part(name).textContent = text;
}

// What the service does now and why, in one or two sentences.
function why(state) {
  const { hold, ended, missing, awaited, decision, guarded, broker, link, is_shadow: isShadow } = state;
  const silence = state.data_age?.silence_s;
  const ordered = (text) => (isShadow ? [] : [text]); // shadow mode orders nothing
  const follows = (what) => (isShadow ? `Would follow ${what}.` : `Follows ${what}, revision ${decision.revision}.`);
  const said = isShadow ? ["Shadow mode: it publishes and orders nothing."] : [];
  if (hold) {
    said.push(`Held by ${hold.author} since ${moment(hold.since)}, ${end(hold)}: ${closed(hold.reason)}`,
      ...ordered("Cooling is left to local control; the last verified caps and grid targets stay, caps lowered where they must be."));
    if (broker?.is_connected === false) said.push(`No connection to ${broker.url}: commands do not reach the plant. They are sent when the connection is back; until then the plant's own heartbeat timeout decides.`);
  } else if (decision?.source === "hold" && !missing && !ended) {
    said.push(`The service itself holds: ${closed(decision.reason || "no safe plan")}`, "Local control decides; it resumes when the cause is gone.");
  } else if (broker?.is_connected === false) {
    said.push(`No connection to ${closed(broker.trouble || `${broker.url}: no reason known`)}`, "It keeps trying; local control decides meanwhile.");
  } else if (link === "silent") {
    said.push(`Nothing received from the plant for ${age(silence)}: is it running?`, "Local control decides until it reports.");
  } else if (link === "ended") {
    said.push(`The simulated plant ended ${age(silence)} ago: this is its last state. Start it again, with --steps for a longer run.`);
  } else if (missing) {
    said.push(`No plan for this quarter-hour: ${closed(missing)}`, ...ordered("Caps are frozen or lowered, requests withdrawn: local control decides."), "It tries again with the next quarter-hour.");
  } else if (!decision) {
    said.push(`No decision yet: it waits for telemetry and the first plan${awaited ? `; ${closed(awaited)}` : "."}`);
  } else if (ended) {
    said.push(`The HOLD${ended.author ? ` by ${ended.author}` : ""} is over since ${moment(ended.time)}: ${closed(ended.how)}`,
      "Planning goes on with the next quarter-hour.", ...ordered("Until then local control decides, and caps stay."));
  } else if (decision.source === "optimum") {
    said.push(follows(`the verified optimum of ${clock(decision.time)}`));
  } else {
    const what = decision.source === "rule" ? "a rule that is always safe" : "the last verified plan, shifted";
    said.push(`No fresh optimum: ${closed(decision.reason || "no reason known")}`, follows(what));
  }
  if (guarded) said.push(`Within the quarter-hour, ${closed(guarded)}`);
  return said.join(" ");
}

// A text as the end of a sentence.
function closed(text) {
  return `${localised(text).trim().replace(/\.$/, "")}.`;
}

// Power from the grid, each figure with its quarter-hour.
function draws({ past, plan, last_known: known, interval_minutes: minutes = 15 }, now) {
  const said = [];
  const step = minutes * 60e3;
  const row = past?.grid_power?.findLastIndex((value) => value !== null) ?? -1;
  if (known) {
    said.push(`The connection's meter is silent: last it showed ${amount(known.grid_power, "MW")}, ${age(60 * known.age_minutes)} before the plan.`);
  } else if (row >= 0) {
    const power = past.grid_power[row];
    const planned = past.planned_power?.[row]; // null before a first plan
    const apart = amount(Math.abs(power - planned));
    const beside = planned == null ? "" : apart === amount(0) ? ", as planned" : `, ${apart} ${power > planned ? "above" : "below"} its plan`;
    const end = Date.parse(past.time[row]);
    said.push(`${span(end - step, end)}: took ${amount(power, "MW")} from the grid${beside}.`);
  }
  const starts = (plan?.time ?? []).map((time) => Date.parse(time));
  const place = starts.findIndex((start) => start <= now && now < start + step);
  if (place >= 0) said.push(`${span(starts[place], starts[place] + step)}: planned ${amount(plan.grid_power?.[place], "MW")}.`);
  return said.join("\n");
}

// When a HOLD ends, in words.
function end({ until, is_self_ending: isSelfEnding }) {
  if (!until) return "until it is released";
  return isSelfEnding ? `until ${moment(until)}` : `until ${moment(until)}, then until it is released`;
}

let shownHolds = "";

// Each HOLD in force with its actions; drawn again only when it changed, so that a focus stays.
function showHolds(holds) {
  part("holds").hidden = !holds.length;
  if (JSON.stringify(holds) === shownHolds) return;
  shownHolds = JSON.stringify(holds);
  const act = (name, hold, text) => {
    const button = element("button", { type: "button", "aria-label": `${text} HOLD ${hold.number}` }, `${text}…`);
    button.addEventListener("click", () => open(name, hold));
    return button;
  };
  const rows = holds.map((hold) => element("li", {},
    element("div", {}, `${hold.number} by ${hold.author} since ${moment(hold.since)}, ${end(hold)}: ${hold.reason}`),
    element("div", { class: "orders" }, act("release", hold, "Release"), act("replace", hold, "Take over"))));
  document.querySelector("#holds .body").replaceChildren(element("ul", { class: "plain" }, ...rows));
}

const ORDERS = {
  replace: { title: "Take over", button: "Take over", reason: "as it is", hours: "as they are",
    text: (hold) => `HOLD ${hold.number} of ${hold.author} becomes yours, with the reason and hours given here.` },
  release: { title: "Release", button: "Release now",
    text: (hold) => `Ends HOLD ${hold.number} of ${hold.author}: ${closed(hold.reason)} After the last HOLD the optimiser plans again, and power returns at the ramp limit.` },
};
let order = "release";
let chosen = null; // the HOLD that the order is about

function open(name, hold) {
  order = name;
  chosen = hold;
  const { title, text, button, reason, hours } = ORDERS[name];
  say("order-title", `${title} HOLD ${hold.number}`);
  say("order-text", text(hold));
  say("confirm", button);
  say("order-fault", "");
  part("order-why").hidden = name === "release";
  part("reason").placeholder = reason ?? "";
  part("hours").placeholder = hours ?? "";
  part("reason").value = part("hours").value = part("token").value = ""; // others may use this computer
  part("order").showModal();
  part("token").focus();
}

async function confirm(event) {
  event.preventDefault();
  const body = { token: part("token").value.trim(), hold: chosen.number, of: chosen.author };
  if (!body.token) return fault("token", "Type your operator's token.");
  if (order !== "release") {
    body.reason = part("reason").value.trim();
    const hours = part("hours").value.trim().replace(",", ".");
    body.hours = hours ? Number(hours) : null;
    if (hours && !(body.hours > 0)) return fault("hours", "Hours are a number above 0, or empty.");
  }
  part("confirm").disabled = true;
  try {
    const answer = await send(`/${order}`, body);
    poll();
    if (answer.said) showAnswer(`Done, HOLD ${answer.hold}. ${closed(answer.said)}`);
    part("order").close();
  } catch (error) {
    fault("token", notDone(error, order));
  } finally {
    part("confirm").disabled = false;
  }
  return undefined;
}

// Place a HOLD at once, without a dialogue: neither a name nor a reason is required.
async function hold() {
  try {
    const answer = await send("/hold", {});
    poll();
    showAnswer(`HOLD ${answer.hold} is in force, reason pending: an operator gives it by Take over. ${answer.said ? closed(answer.said) : ""}`);
  } catch (error) {
    showAnswer(notDone(error, "hold"), true);
  }
}

function notDone(error, command) {
  const none = error instanceof TypeError; // thrown by fetch without an answer
  return `Not done: ${none ? `nobody answers. On the machine of the service, also while it is down: gigatwin ${command === "replace" ? "hold" : command}.` : error.message}`;
}

function fault(field, text) {
  say("order-fault", text);
  part(field).focus();
}

// Read the token again, so that an order also reaches a restarted service.
async function send(path, body) {
  const page = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  const token = new DOMParser().parseFromString(await page.text(), "text/html").querySelector("meta[name=token]")?.content ?? "";
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(body), signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: { "Content-Type": "application/json", "X-Gigatwin-Token": token } });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error ?? `error ${answer.status}`);
  return said;
}

new ResizeObserver(fitReason).observe(part("why").parentElement);
part("more").addEventListener("click", toggleReason);
setUpHold(hold);
setInterval(showTime, 1000);
part("cancel").addEventListener("click", () => part("order").close());
part("order").querySelector("form").addEventListener("submit", confirm);
document.documentElement.dataset.running = "yes"; // for watch.js
part("hold").disabled = false; // disabled until this script runs
poll();
followLiveValues();
