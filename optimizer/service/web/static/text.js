// Numbers with units, and times of the site beside UTC.

const locale = "en-GB";
let zone = "UTC";

export function useZone(name) {
  try {
    new Intl.DateTimeFormat(locale, { timeZone: name });
    zone = name;
  } catch {
    zone = "UTC"; // the browser does not know this zone
  }
}

// Formatters are expensive to create and cheap to use.
const formatters = new Map();

function formatter(Kind, options) {
  const key = Kind.name + JSON.stringify(options);
  if (!formatters.has(key)) formatters.set(key, new Kind(locale, options));
  return formatters.get(key);
}

function format(date, options, timeZone = zone) {
  return formatter(Intl.DateTimeFormat, { hourCycle: "h23", timeZone, ...options }).format(date);
}

const hourMinute = { hour: "2-digit", minute: "2-digit" };

export function clock(time) {
  return format(new Date(time), hourMinute);
}

// "14:30–14:45"
export function span(from, to) {
  return `${clock(from)}–${clock(to)}`;
}

export function hourOf(time) {
  return Number(format(new Date(time), { hour: "2-digit" }));
}

export function day(time) {
  return format(new Date(time), { weekday: "short", day: "numeric", month: "short" });
}

// "14:30", or on another day than now "Thu 2 Jul, 14:30".
export function dayClock(time, now) {
  return day(time) === day(now) ? clock(time) : `${day(time)}, ${clock(time)}`;
}

export function zoneName(time) {
  const parts = formatter(Intl.DateTimeFormat, { timeZone: zone, timeZoneName: "short" }).formatToParts(new Date(time));
  return parts.find((part) => part.type === "timeZoneName").value;
}

// "Wed 1 Jul, 14:30 CEST (12:30 UTC)"
export function moment(time) {
  const date = new Date(time);
  if (zone === "UTC") return `${day(date)}, ${clock(date)} UTC`;
  const utc = format(date, hourMinute, "UTC");
  return `${day(date)}, ${clock(date)} ${zoneName(date)} (${utc} UTC)`;
}

// A text of the service with its UTC times in the zone of the site.
export function localised(text) {
  return String(text).replace(/\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?Z/g, (stamp) => `${day(stamp)}, ${clock(stamp)}`);
}

// By the clock of this computer.
export function wallClock(date) {
  return formatter(Intl.DateTimeFormat, { hourCycle: "h23", ...hourMinute, second: "2-digit" }).format(date);
}

// The time now in the zone of the site, by the clock of this computer.
export function wallTime(date) {
  return `${format(date, { ...hourMinute, second: "2-digit" })} ${zoneName(date)}`;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// A dash replaces a missing number.
export function amount(value, unit = "", digits = 1) {
  if (!isNumber(value)) return "–";
  const shape = { minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: "negative" }; // no −0
  const text = formatter(Intl.NumberFormat, shape).format(value).replace("-", "−");
  return unit ? `${text}\u00a0${unit}` : text;
}

export const euros = (value) => amount(value, "EUR", 0);
export const count = (value) => amount(value, "", 0);
export const racks = (value) => amount(value, "", value < 10 && value % 1 ? 2 : 0); // jobs may take a few nodes

export function age(seconds) {
  if (!isNumber(seconds)) return "never received";
  if (seconds < 120) return amount(seconds, "s", 0);
  if (seconds < 7200) return amount(seconds / 60, "min", 0);
  return amount(seconds / 3600, "h", 1);
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
export const words = (name) => String(name).replaceAll("_", " ");
