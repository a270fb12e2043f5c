// Cards with texts and tables.

import { element, empty, pairs, table } from "/static/dom.js";
import { age, amount, count, dayClock, euros, moment, plural, racks, localised, words } from "/static/text.js";

const MAX_ALARMS = 12;
const SEVERITY = { high: ["bad", "HIGH"], medium: ["warn", "medium"], low: ["", "low"] };
const SOURCE = { optimum: "verified optimum", shifted: "earlier verified plan, shifted", rule: "safe rule", hold: "HOLD" };
const ACCOUNT = { terminal: "work left less stores kept" };
const FEED = { acknowledged: "", waiting: "", rejected: "bad", overdue: "bad", lapsed: "bad", none: "" };

export function showCards(state) {
  for (const [name, content] of Object.entries({ alarms, jobs, decision, limits, failures, feed, telemetry })) {
    document.querySelector(`#${name} .body`).replaceChildren(...content(state));
  }
}

function alarms({ alarms: standing = [] }) {
  if (!standing.length) return [empty("No alarms.")];
  const order = Object.keys(SEVERITY);
  const sorted = standing.toSorted((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
  const rows = sorted.slice(0, MAX_ALARMS).map((alarm) => {
    const { severity, cause, time, text, consequence, remedy } = alarm;
    const [tone, name] = SEVERITY[severity] ?? ["", severity];
    const words = ` ${localised(cause)} since ${moment(time)}: ${localised(text)}`;
    return element("li", {}, element("span", { class: tone }, name), words,
      remedy ? element("p", { class: "quiet" }, `Do${timeToAct(alarm)}: ${remedy}.${consequence ? ` Otherwise: ${consequence}.` : ""}`) : null);
  });
  const rest = sorted.length - rows.length;
  return [element("ul", {}, ...rows), rest > 0 ? element("p", {}, `and ${plural(rest, "more alarm")}`) : ""];
}

function timeToAct({ time_to_act_s: seconds }) {
  if (!seconds) return "";
  const [size, unit] = [[86400, "day"], [3600, "hour"], [60, "minute"]].find(([size]) => seconds >= size);
  return ` within ${plural(Math.round(seconds / size), unit)}`;
}

function jobs({ jobs: now, is_shadow: isShadow }) { // in shadow mode nothing is ordered
  if (!now) return [empty("No queue received yet.")];
  const [run, wait] = isShadow ? ["would run", "would wait"] : ["running", "waiting"];
  const late = now.late ? element("span", { class: "bad" }, `${count(now.late)} late`) : "none late";
  return [
    element("p", {}, `${count(now.running)} ${run}, ${count(now.waiting)} ${wait}, `, late,
      `; waiting work: ${amount(now.backlog_mwh, "MWh", 0)}`),
    now.kinds?.length ? table(now.kinds, [
      ["Kind", false, (row) => words(row.kind)],
      [isShadow ? "Would run" : "Running", true, (row) => count(row.running)],
      [isShadow ? "Would wait" : "Waiting", true, (row) => count(row.waiting)],
      ["Racks", true, (row) => racks(row.racks)],
    ]) : empty("No jobs."),
  ];
}

function decision({ decision: last }) {
  if (!last) return [empty("No decision yet.")];
  const accounts = Object.entries(last.accounts ?? {});
  return [
    pairs([
      ["For", moment(last.time)],
      ["Source", element("span", { class: last.source === "optimum" ? "" : "warn" }, SOURCE[last.source] ?? last.source)],
      ...(last.reason ? [["Reason", localised(last.reason)]] : []),
      ["Revision", `${last.revision ?? "–"}, decided in ${amount(last.seconds, "s", 2)}`],
    ]),
    accounts.length ? table(accounts, [
      ["Account", false, ([name]) => ACCOUNT[name] ?? words(name)],
      ["Cost over the plan", true, ([, value]) => euros(value)],
    ], { foot: ["Sum", euros(last.cost_eur)] }) : empty("No accounts: this decision has no prices."),
  ];
}

function limits({ decision: last, asked = [], time: now }) {
  if (!last) return [empty("No decision yet.")];
  const binding = last.binding ?? [];
  const changes = last.changes ?? [];
  const isPriced = Object.keys(last.accounts ?? {}).length > 0;
  const doubtful = last.doubtful?.length ? [`also binds: ${last.doubtful.join(", ")} (its price is ambiguous; gigatwin front computes its value)`] : [];
  const besides = [...doubtful, ...(last.reserves ?? []), ...(last.units ?? []), ...(last.hedge?.words ?? []), ...(last.degraded ? [last.degraded] : [])];
  const list = (title, texts) => element("div", {}, element("h3", {}, title),
    element("ul", {}, ...texts.map((text) => element("li", {}, localised(text)))));
  return [
    ...(asked.length ? [list("Requested by partners", asked.map((row) => `${row.partner}: ${row.words}`))] : []),
    binding.length ? table(binding, [
      ["Binding limit", false, (row) => row.limit],
      ["From – to", false, (row) => `${dayClock(row.from, now)} – ${dayClock(row.to, now)}`],
      ["Value of one more unit", true, (row) => amount(row.price_eur, row.unit ? `EUR/${row.unit}` : "EUR", 2)],
    ]) : empty(isPriced ? "No limit binds." : "Unknown: this decision has no prices."),
    ...(changes.length ? [list("Changes since the last plan", changes)] : isPriced ? [empty("Nothing changed since the last plan.")] : []),
    ...(besides.length ? [list("Further notes", besides)] : []),
  ];
}

function failures({ failures: found, time: today }) {
  if (!found) return [empty("Not computed yet: it comes with the first plan.")];
  const rows = found.rows ?? [];
  const unlimited = rows.filter((row) => row.worst_minutes == null).length;
  const limited = rows.filter((row) => row.worst_minutes != null);
  const minutes = (value) => (value == null ? "none" : amount(value, "min", 1));
  const now = rows.filter((row) => row.minutes != null).toSorted((a, b) => a.minutes - b.minutes)[0];
  const ahead = (row) => (row.worst_minutes == null ? "none" : element("div", {}, minutes(row.worst_minutes),
    element("div", { class: "quiet" }, `at ${dayClock(row.worst_time, today)}`)));
  return [
    element("p", {}, now ? `First limit now: ${minutes(now.minutes)} after ${now.failure} fails (${now.limit}).` : "No single failure leads to a limit now."),
    ...(found.exposed ?? []).map((text) => element("p", { class: "bad" }, `Not covered: ${text}.`)),
    limited.length ? table(limited, [
      ["If this fails", false, (row) => element("div", {}, element("span", row.must && row.worst_minutes < found.least_minutes ? { class: "bad" } : {}, row.failure),
        element("div", { class: "quiet" }, row.worst_limit))],
      ["Now", true, (row) => minutes(row.minutes)],
      ["Minimum in the plan", true, ahead],
    ]) : "",
    element("p", { class: "quiet" }, `${plural(unlimited, "other single failure")} without any limit in 12 h. Minutes at the load and in the weather of the plan.`),
  ];
}

function feed({ feed: partners = [], is_shadow: isShadow, time: now }) {
  if (!partners.length) return [empty(isShadow ? "Shadow mode: nothing is published." : "No partner is configured.")];
  const state = (row) => element("div", {},
    element("span", { class: FEED[row.state] ?? "" }, row.state === "none" ? "nothing sent" : row.state),
    row.state === "acknowledged" || row.acknowledged == null ? null : `, has ${row.acknowledged}`,
    row.text ? element("div", { class: "quiet" }, localised(row.text)) : null);
  return [table(partners, [
    ["Partner", false, (row) => row.partner],
    ["State", false, state],
    ["Revision", true, (row) => (row.sent ? element("div", {}, String(row.revision), element("div", { class: "quiet" }, `at ${dayClock(row.sent, now)}`)) : "–")],
  ])];
}

// The first texts, and the number of others.
function few(texts, maximum = 5) {
  const more = texts.length > maximum ? [`and ${count(texts.length - maximum)} more`] : [];
  return [...texts.slice(0, maximum), ...more].join("; ") || "nothing";
}

// "14:30: 735 %, expected 0 to 110 %, 2 times, on BMS/v1/PUB/Value/BESS/..."; the topic ends with the point.
function refusal({ topic, value, unit, expected, time, count: times }, now) {
  return `${dayClock(time, now)}: ${value ?? "–"} ${unit}, expected ${expected}, ${plural(times, "time")}, on ${topic}`;
}

function telemetry({ telemetry: received = {}, broker = {}, time: now }) {
  const refused = typeof received.quarantined === "object" ? Object.entries(received.quarantined ?? {}) : [["any reason", received.quarantined]];
  const counts = (found) => found.filter(([, n]) => n).map(([reason, n]) => `${count(n)} ${words(reason)}`).join(", ") || "none";
  const [stale, unknown] = [received.stale ?? [], received.unknown ?? []];
  return [pairs([
    ["Broker", element("span", { class: broker.is_connected ? "" : "bad" },
      broker.is_connected ? "connected" : `not connected: ${broker.trouble || "no reason known"}`)],
    ["Address", broker.url ?? "–"],
    ["Newest sample", `${age(received.age_s)} old`.replace("never received old", "never received")],
    ["Received", `${count(received.messages)} messages: ${count(received.points)} points, ${count(received.batches)} rack batches`],
    ["Refused", element("div", {}, counts(refused), ...(received.refused ?? []).map((row) => element("div", { class: "quiet" }, refusal(row, now))))],
    ["Ignored", counts(Object.entries(received.passed ?? {}))],
    ["Stale", stale.length ? element("span", { class: "bad" }, stale.map(words).join(", ")) : "nothing"],
    ["Unknown points", few(unknown)],
    ["Archive", received.archive || "–"],
  ])];
}
