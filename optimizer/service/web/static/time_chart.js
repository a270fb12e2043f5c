// One chart over time as SVG: lines, a band, a now-line, and a cursor for mouse, finger and keyboard.
//
// A line is { name, tone, points: [[ms, value or null]], isStep, style, digits, limit }: `isStep`
// holds a value until the next point (means of intervals); a null is a gap; `limit`
// is drawn dashed in the line's own tone.

import { amount, clock, day, hourOf, moment, span, zoneName } from "/static/text.js";
import { element, empty, shape } from "/static/dom.js";

const EDGE = { left: 46, right: 12, top: 22, bottom: 36 };
const HOUR = 3600e3;
const charts = new Set();
let cursor = null; // ms; one for all charts

export class Chart {
  constructor(section, { title, unit, height = 200, fromZero = false, missing }) {
    Object.assign(this, { unit, height, fromZero, missing, lines: [], band: null, now: 0 });
    const name = `${section.id}-title`;
    section.setAttribute("aria-labelledby", name);
    this.legend = element("ul", { class: "legend" });
    this.place = element("div", { tabindex: "0", role: "slider" });
    this.title = title;
    section.append(element("h2", { id: name }, `${title} [${unit}]`),
      element("figure", {}, this.legend, this.place));
    new ResizeObserver(() => this.draw()).observe(section);
    this.place.addEventListener("pointermove", (event) => this.point(event));
    this.place.addEventListener("pointerleave", () => moveTo(null));
    this.place.addEventListener("blur", () => moveTo(null));
    this.place.addEventListener("keydown", (event) => this.press(event));
    charts.add(this);
  }

  show({ lines, band = null, now, step }) {
    const drawn = lines.filter((line) => line.points.some(([, value]) => value !== null));
    Object.assign(this, { lines: drawn, band, now, step });
    this.draw();
  }

  draw() {
    const width = Math.floor(this.place.clientWidth);
    if (width < 80) return;
    if (!this.lines.length) {
      this.legend.replaceChildren();
      this.svg = null;
      this.place.replaceChildren(empty(this.missing));
      return;
    }
    this.width = width;
    this.scale();
    this.svg = shape("svg", { class: "plot", viewBox: `0 0 ${width} ${this.height}`, width, height: this.height, "aria-hidden": "true" },
      ...this.frame(), ...this.bandPath(), ...this.lines.flatMap((line) => this.path(line)), ...this.nowLine());
    this.place.replaceChildren(this.svg);
    this.place.setAttribute("aria-label", this.summary());
    this.place.setAttribute("aria-valuemin", 0);
    this.place.setAttribute("aria-valuemax", Math.round((this.to - this.from) / this.step) - 1);
    this.mark();
  }

  scale() {
    const points = this.lines.flatMap((line) => line.points);
    const times = points.map(([time]) => time);
    this.from = times.reduce((a, b) => Math.min(a, b));
    this.to = times.reduce((a, b) => Math.max(a, b)) + this.step;
    const values = [...points.map(([, value]) => value), ...(this.band ?? []).flatMap(([, low, high]) => [low, high]),
      ...this.lines.map((line) => line.limit ?? null)].filter((value) => value !== null);
    let low = values.reduce((a, b) => Math.min(a, b));
    let high = values.reduce((a, b) => Math.max(a, b));
    if (this.fromZero) [low, high] = [Math.min(0, low), Math.max(0, high)];
    this.ticks = ticksOf(low, high, Math.max(2, Math.floor((this.height - EDGE.top - EDGE.bottom) / 36)));
    this.low = Math.min(low, this.ticks[0]);
    this.high = Math.max(high, this.ticks.at(-1));
    this.x = (time) => EDGE.left + (time - this.from) / (this.to - this.from) * (this.width - EDGE.left - EDGE.right);
    this.y = (value) => this.height - EDGE.bottom - (value - this.low) / (this.high - this.low) * (this.height - EDGE.top - EDGE.bottom);
  }

  frame() {
    const right = this.width - EDGE.right;
    const bottom = this.height - EDGE.bottom;
    const digits = this.ticks.every(Number.isInteger) ? 0 : 1;
    const parts = this.ticks.flatMap((tick) => [
      line(EDGE.left, this.y(tick), right, this.y(tick), tick === 0 && this.low < 0 ? "zero" : "grid"),
      shape("text", { x: EDGE.left - 6, y: this.y(tick) + 4, "text-anchor": "end" }, amount(tick, "", digits)),
    ]);
    const every = [3, 6, 12, 24].find((hours) => (right - EDGE.left) / ((this.to - this.from) / HOUR / hours) >= 52) ?? 24;
    let dayEnd = -Infinity;
    for (let time = Math.ceil(this.from / HOUR) * HOUR; time <= this.to; time += HOUR) {
      const hour = hourOf(time);
      if (hour % every) continue;
      const x = this.x(time);
      parts.push(line(x, EDGE.top, x, bottom, hour ? "grid" : "midnight"));
      if (x > EDGE.left + 12 && x < right - 14) parts.push(shape("text", { x, y: bottom + 15, "text-anchor": "middle" }, clock(time)));
      if (hour === 0 && x < right - 60) parts.push(shape("text", { x: x + 2, y: bottom + 30 }, day(time)));
      if (hour === 0) dayEnd = x;
    }
    if (dayEnd > EDGE.left + 130 || dayEnd === -Infinity) {
      parts.push(shape("text", { x: EDGE.left, y: bottom + 30 }, zoneName(this.now)));
    }
    return parts;
  }

  path({ points, tone, style = "", isStep = false, limit = null, limitTone = tone }) {
    let text = "";
    let isOpen = false;
    points.forEach(([time, value], i) => {
      if (value === null) { isOpen = false; return; }
      const x = this.x(Math.max(time, this.from)).toFixed(1);
      const y = this.y(value).toFixed(1);
      text += `${isOpen ? "L" : "M"}${x} ${y}`;
      if (isStep) text += `H${this.x(Math.min(points[i + 1]?.[0] ?? time + this.step, time + this.step)).toFixed(1)}`;
      else if (!isOpen && points[i + 1]?.[1] == null) text += "h2"; // a single point would be invisible
      isOpen = true;
    });
    const ceiling = limit === null ? [] : [line(EDGE.left, this.y(limit), this.width - EDGE.right, this.y(limit), `line dashed thin ${limitTone}`)];
    return [...ceiling, shape("path", { class: `line ${tone} ${style}`, d: text })];
  }

  bandPath() {
    if (!this.band?.length) return [];
    const end = (time) => this.x(time + this.step).toFixed(1);
    const upper = this.band.map(([time, , high]) => `${this.x(time).toFixed(1)} ${this.y(high).toFixed(1)}H${end(time)}`);
    const lower = this.band.toReversed().map(([time, low]) => `${end(time)} ${this.y(low).toFixed(1)}H${this.x(time).toFixed(1)}`);
    return [shape("path", { class: "band", d: `M${[...upper, ...lower].join("L")}Z` })];
  }

  nowLine() {
    if (this.now < this.from || this.now > this.to) return [];
    const x = this.x(this.now);
    return [line(x, EDGE.top - 6, x, this.height - EDGE.bottom, "nowline"), this.above(x, "now", 24)];
  }

  // A text above the plot, kept inside it; `reach` is half its width.
  above(x, text, reach) {
    const anchor = x < reach + 4 ? "start" : x > this.width - reach - 4 ? "end" : "middle";
    const at = { start: 4, middle: x, end: this.width - 4 }[anchor];
    return shape("text", { class: "nowtext", x: at, y: 12, "text-anchor": anchor }, text);
  }

  // Draw the cursor and its values; only this changes while the pointer moves.
  mark() {
    if (!this.svg) return;
    this.svg.querySelector(".pointer")?.remove();
    const isAway = cursor !== null && cursor >= this.from && cursor <= this.to;
    const time = isAway ? cursor : this.now;
    const when = moment(time);
    if (isAway) {
      const x = this.x(time);
      this.svg.append(shape("g", { class: "pointer" },
        line(x, EDGE.top, x, this.height - EDGE.bottom, "cursor"), this.above(x, when, 120)));
    }
    this.svg.classList.toggle("away", isAway); // hides the word "now"
    const values = this.lines.map((entry) => [entry, ...this.pointAt(entry, time)]);
    this.legend.replaceChildren(...values.map((value) => this.entry(...value)));
    this.place.setAttribute("aria-valuenow", (time - this.from) / this.step);
    this.place.setAttribute("aria-valuetext", `${when}; ${values.map(([entry, at, value]) => `${entry.name} ${amount(value, this.unit)} ${this.period(entry, at)}`).join(", ")}`);
  }

  // The time of a value: a quarter-hour of a mean, an instant of another.
  period({ isStep = false }, at) {
    if (at === null) return "";
    return isStep ? span(at, at + this.step) : clock(at);
  }

  entry(line, at, value) {
    const { name, tone, style = "", digits = 1, limit = null } = line;
    const swatch = shape("svg", { viewBox: "0 0 22 10", "aria-hidden": "true" }, shape("path", { class: `line ${tone} ${style}`, d: "M0 5H22" }));
    const isOver = limit !== null && value !== null && value > limit;
    return element("li", {}, swatch, `${name} `,
      element("b", isOver ? { class: "bad" } : {}, amount(value, this.unit, digits)),
      limit === null ? null : ` ${isOver ? "OVER the limit of" : "of at most"} ${amount(limit, "", digits)}`,
      element("span", { class: "quiet" }, ` ${this.period(line, at)}`));
  }

  // Time and value of the point at a time; nulls without one. Without a cursor the last value may
  // be one interval old, and the next decision takes time.
  pointAt({ points }, time) {
    const slack = cursor === null ? 1.5 : 0;
    const at = points.findLast(([start]) => start <= time);
    return at && time - at[0] < this.step * (1 + slack) ? at : [null, null];
  }

  summary() {
    const said = this.lines.map((entry) => {
      const values = entry.points.map(([, value]) => value).filter((value) => value !== null);
      const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
      const limit = entry.limit == null ? "" : `, limit ${amount(entry.limit, this.unit)}`;
      return `${entry.name} from ${amount(low, this.unit)} to ${amount(high, this.unit)}${limit}`;
    });
    return `Chart of ${this.title}: ${said.join("; ")}. Arrow keys read the values.`;
  }

  point(event) {
    if (!this.svg) return;
    const share = (event.clientX - this.svg.getBoundingClientRect().left - EDGE.left) / (this.width - EDGE.left - EDGE.right);
    moveTo(this.snap(this.from + share * (this.to - this.from)));
  }

  press(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -12, PageDown: 12 }[event.key];
    if (!this.svg || (!steps && event.key !== "Escape")) return;
    event.preventDefault();
    moveTo(steps ? this.snap((cursor ?? this.now) + steps * this.step) : null);
  }

  snap(time) {
    const inside = Math.min(Math.max(time, this.from), this.to - this.step);
    return this.from + Math.floor((inside - this.from) / this.step) * this.step;
  }
}

function moveTo(time) {
  cursor = time;
  for (const chart of charts) chart.mark();
}

function line(x1, y1, x2, y2, name) {
  return shape("line", { x1, y1, x2, y2, class: name });
}

// Round numbers that enclose low and high.
function ticksOf(low, high, most) {
  if (high - low < 1e-9) [low, high] = [low - 1, high + 1];
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const first = Math.floor(low / size + 1e-9);
  const last = Math.ceil(high / size - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * size).toPrecision(12)));
}
