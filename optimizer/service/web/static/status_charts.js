// Charts of the page, and the columns of the state that they show.

import { Chart } from "/static/time_chart.js";
import { words } from "/static/text.js";

const DAY = 24 * 3600e3;
const TONES = ["blue", "green", "amber", "violet", "ink", "red"];
const section = (name) => document.getElementById(name);
const soon = "Nothing yet: it comes with the first telemetry and the first plan.";

const power = new Chart(section("power"), { title: "Power from the grid", unit: "MW", height: 260, fromZero: true, missing: soon });
const price = new Chart(section("price"), { title: "Price of electricity", unit: "EUR/MWh", fromZero: true,
  missing: "No prices yet: they come with the first plan." });
const carbon = new Chart(section("carbon"), { title: "Carbon of electricity", unit: "g/kWh", fromZero: true,
  missing: "No carbon intensity yet: it comes with the first plan." });
const temperature = new Chart(section("temperature"), { title: "Temperatures against their limits", unit: "°C", height: 260,
  missing: "No temperature received yet." });
const stores = new Chart(section("stores"), { title: "Battery and cold tank", unit: "MWh", height: 260, fromZero: true,
  missing: "No level received yet, or this site has no store." });
const work = new Chart(section("work"), { title: "Work and own generation", unit: "MW", fromZero: true, missing: soon });

export function showCharts(state) {
  const now = Date.parse(state.time);
  const step = (state.interval_minutes ?? 15) * 60e3;
  const [past, plan] = [state.past ?? {}, state.plan ?? {}];
  const limits = state.limits ?? {};

  function column(part, values) {
    return (part.time ?? []).map((time, i) => [Date.parse(time), values?.[i] ?? null])
      .filter(([time]) => time >= now - DAY && time < now + DAY);
  }
  // Past powers are means of the quarter-hour that ended at their time.
  const over = (name) => column(past, past[name]).map(([time, value]) => [time - step, value]);
  // Prices are of the quarter-hour that begins at their time; planned levels are those at its end.
  const whole = (name) => [...column(past, past[name]).filter(([time]) => time < now), ...column(plan, plan[name])];
  const ends = (values) => column(plan, values).map(([time, value]) => [time + step, value]);
  const levels = (name) => [...column(past, past[name]), ...ends(plan[name])];
  const draw = (chart, lines, band = null) => chart.show({ lines, band, now, step });
  const mean = (name, tone, points) => ({ name, tone, points, isStep: true });
  const powers = (name) => [...over(name), ...column(plan, plan[name])];

  const high = column(plan, plan.p90);
  const band = column(plan, plan.p10).map(([time, low], i) => [time, low, high[i]?.[1] ?? null])
    .filter(([, low, top]) => low !== null && top !== null);
  draw(power, [
    { name: "was planned", tone: "blue", style: "dotted thin", points: over("planned_power"), isStep: true },
    { name: "measured", tone: "ink", points: over("grid_power"), isStep: true,
      limit: limits.grid_import_power ?? null, limitTone: "red" },
    { name: band.length ? "plan, with p10 to p90" : "plan", tone: "blue", points: column(plan, plan.grid_power), isStep: true },
  ], band);
  draw(price, [{ ...mean("day-ahead or forecast", "amber", whole("electricity_price")), digits: 2 }]);
  draw(carbon, [{ ...mean("grid mix", "green", whole("carbon_intensity")), digits: 0 }]);
  draw(work, [mean("accelerators", "violet", powers("work_power")), mean("own generation", "green", powers("renewable_power"))]);
  draw(stores, [
    { name: "battery", tone: "blue", points: levels("battery_level"), limit: limits.battery_capacity ?? null },
    { name: "cold tank", tone: "green", points: levels("tank_level"), limit: limits.tank_capacity ?? null },
  ]);
  const ceilings = new Map((limits.temperatures ?? []).map(({ name, limit }) => [name, limit ?? null]));
  const places = new Set([...Object.keys(past.temperatures ?? {}), ...Object.keys(plan.temperatures ?? {})]);
  draw(temperature, [...places].map((name, i) => ({
    name: words(name), tone: TONES[i % TONES.length], limit: ceilings.get(name) ?? null,
    style: i < TONES.length ? "" : "dotted",
    points: [...column(past, past.temperatures?.[name]), ...ends(plan.temperatures?.[name])],
  })));
}
