// The cards in words and tables.

import { element, empty, pairs, table } from "/static/dom.js";
import { age, amount, count, dayClock, euros, moment, plural, racks, told, words } from "/static/text.js";

const MOST_ALARMS = 12;
const SEVERITY = { high: ["bad", "HIGH"], medium: ["warn", "medium"], low: ["", "low"] };
const SOURCE = { optimum: "verified optimum", shifted: "earlier verified plan, shifted", rule: "safe rule", hold: "HOLD" };
const ACCOUNT = { terminal: "work left less stores kept" };
const FEED = { acknowledged: "good", waiting: "", rejected: "bad", overdue: "bad", lapsed: "bad", none: "" };

export function showCards(state) {
  for (const [name, content] of Object.entries({ alarms, jobs, decision, limits, failures, feed, telemetry })) {
    document.querySelector(`#${name} .body`).replaceChildren(...content(state));
  }
}

function alarms({ alarms: standing = [] }) {
  if (!standing.length) return [empty("No alarm stands.")];
  const order = Object.keys(SEVERITY);
  const sorted = standing.toSorted((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
  const rows = sorted.slice(0, MOST_ALARMS).map(({ severity, cause, time, text, remedy }) => {
    const [tone, name] = SEVERITY[severity] ?? ["", severity];
    const words = ` ${told(cause)} since ${moment(time)}: ${told(text)}`;
    return element("li", {}, element("span", { class: tone }, name), words,
      remedy ? element("span", { class: "quiet" }, ` → ${remedy}`) : null);
  });
  const rest = sorted.length - rows.length;
  return [element("ul", {}, ...rows), rest > 0 ? element("p", {}, `and ${plural(rest, "more alarm")}`) : ""];
}

function jobs({ jobs: now, mode }) {
  if (!now) return [empty("No queue heard yet.")];
  const isShadow = mode === "shadow"; // then nobody is ordered to run what is planned
  const [run, wait] = isShadow ? ["would run", "would wait"] : ["running", "waiting"];
  const late = now.late ? element("span", { class: "bad" }, `${count(now.late)} late`) : "none late";
  return [
    element("p", {}, `${count(now.running)} ${run}, ${count(now.waiting)} ${wait}, `, late,
      `; work that waits: ${amount(now.backlog_mwh, "MWh", 0)}`),
    now.kinds?.length ? table(now.kinds, [
      ["Kind", false, (row) => words(row.kind)],
      [isShadow ? "Would run" : "Running", true, (row) => count(row.running)],
      [isShadow ? "Would wait" : "Waiting", true, (row) => count(row.waiting)],
      ["Racks", true, (row) => racks(row.racks)],
    ]) : empty("No job is here."),
  ];
}

function decision({ decision: last }) {
  if (!last) return [empty("No decision yet.")];
  const accounts = Object.entries(last.accounts ?? {});
  return [
    pairs([
      ["For", moment(last.time)],
      ["Source", element("span", { class: last.source === "optimum" ? "good" : "warn" }, SOURCE[last.source] ?? last.source)],
      ...(last.reason ? [["Reason", told(last.reason)]] : []),
      ["Revision", `${last.revision ?? "–"}, decided in ${amount(last.seconds, "s", 2)}`],
    ]),
    accounts.length ? table(accounts, [
      ["Account", false, ([name]) => ACCOUNT[name] ?? words(name)],
      ["Cost over the plan", true, ([, value]) => euros(value)],
    ], { foot: ["Sum", euros(last.cost_eur)] }) : empty("No accounts: this decision was not priced."),
  ];
}

function limits({ decision: last, asked = [], time: now }) {
  if (!last) return [empty("No decision yet.")];
  const binding = last.binding ?? [];
  const changes = last.changes ?? [];
  const isPriced = Object.keys(last.accounts ?? {}).length > 0;
  const doubtful = last.doubtful?.length ? [`also binds: ${last.doubtful.join(", ")} (solvers tell any price for it; gigatwin front finds what it is worth)`] : [];
  const besides = [...doubtful, ...(last.reserves ?? []), ...(last.units ?? []), ...(last.hedge?.words ?? []), ...(last.degraded ? [last.degraded] : [])];
  const list = (title, texts) => element("div", {}, element("h3", {}, title),
    element("ul", {}, ...texts.map((text) => element("li", {}, told(text)))));
  return [
    ...(asked.length ? [list("Asked by partners", asked.map((row) => `${row.partner}: ${row.words}`))] : []),
    binding.length ? table(binding, [
      ["What holds the plan back", false, (row) => row.limit],
      ["From – to", false, (row) => `${dayClock(row.from, now)} – ${dayClock(row.to, now)}`],
      ["One more is worth", true, (row) => amount(row.price_eur, row.unit ? `EUR/${row.unit}` : "EUR", 2)],
    ]) : empty(isPriced ? "No limit holds the plan back." : "Not told: this decision was not priced."),
    ...(changes.length ? [list("Changes since the last plan", changes)] : isPriced ? [empty("Nothing changed since the last plan.")] : []),
    ...(besides.length ? [list("Besides", besides)] : []),
  ];
}

function failures({ failures: found, time: today }) {
  if (!found) return [empty("Not judged yet: it comes with the first plan.")];
  const rows = found.rows ?? [];
  const endless = rows.filter((row) => row.worst_minutes == null).length;
  const told = rows.filter((row) => row.worst_minutes != null);
  const minutes = (value) => (value == null ? "none" : amount(value, "min", 1));
  const now = rows.filter((row) => row.minutes != null).toSorted((a, b) => a.minutes - b.minutes)[0];
  const ahead = (row) => (row.worst_minutes == null ? "none" : element("div", {}, minutes(row.worst_minutes),
    element("div", { class: "quiet" }, `at ${dayClock(row.worst_time, today)}`)));
  return [
    element("p", {}, now ? `First limit now: ${minutes(now.minutes)} after ${now.failure} fails (${now.limit}).` : "No single failure leads to a limit now."),
    ...(found.exposed ?? []).map((text) => element("p", { class: "bad" }, `Not covered: ${text}.`)),
    told.length ? table(told, [
      ["If this fails", false, (row) => element("div", {}, element("span", row.must && row.worst_minutes < found.least_minutes ? { class: "bad" } : {}, row.failure),
        element("div", { class: "quiet" }, row.worst_limit))],
      ["Now", true, (row) => minutes(row.minutes)],
      ["Least in the plan", true, ahead],
    ]) : "",
    element("p", { class: "quiet" }, `${plural(endless, "other single failure")} without any limit in 12 h. Minutes at the load and in the weather of the plan.`),
  ];
}

function feed({ feed: partners = [], mode, time: now }) {
  if (!partners.length) return [empty(mode === "shadow" ? "Shadow mode: nothing is published." : "No partner is configured.")];
  const state = (row) => element("div", {},
    element("span", { class: FEED[row.state] ?? "" }, row.state === "none" ? "nothing sent" : row.state),
    row.state === "acknowledged" || row.acknowledged == null ? null : `, has ${row.acknowledged}`,
    row.text ? element("div", { class: "quiet" }, told(row.text)) : null);
  return [table(partners, [
    ["Partner", false, (row) => row.partner],
    ["State", false, state],
    ["Revision", true, (row) => (row.sent ? element("div", {}, String(row.revision), element("div", { class: "quiet" }, `at ${dayClock(row.sent, now)}`)) : "–")],
  ])];
}

// The first of many texts, and how many more there are.
function few(texts, most = 5) {
  const more = texts.length > most ? [`and ${count(texts.length - most)} more`] : [];
  return [...texts.slice(0, most), ...more].join("; ") || "nothing";
}

function telemetry({ telemetry: heard = {}, broker = {} }) {
  const refused = typeof heard.quarantined === "object" ? Object.entries(heard.quarantined ?? {}) : [["any reason", heard.quarantined]];
  const counts = (found) => found.filter(([, n]) => n).map(([reason, n]) => `${count(n)} ${words(reason)}`).join(", ") || "none";
  const [stale, strange] = [heard.stale ?? [], heard.unknown ?? []];
  return [pairs([
    ["Broker", element("span", { class: broker.is_connected ? "good" : "bad" },
      broker.is_connected ? "connected" : `not connected: ${broker.trouble || "no reason known"}`)],
    ["Address", broker.url ?? "–"],
    ["Newest sample", `${age(heard.age_s)} old`.replace("never heard old", "never heard")],
    ["Taken in", `${count(heard.messages)} messages: ${count(heard.points)} points, ${count(heard.batches)} rack batches`],
    ["Refused", counts(refused)],
    ["Passed over", counts(Object.entries(heard.passed ?? {}))],
    ["Stale", stale.length ? element("span", { class: "bad" }, stale.map(words).join(", ")) : "nothing"],
    ["Not understood", few(strange)],
    ["Archive", heard.archive || "–"],
  ])];
}
