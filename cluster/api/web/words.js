/* Numbers as people read them. */

const NUMBER = new Intl.NumberFormat("en");
export const count = (value) => NUMBER.format(value);
const SHORT = new Intl.NumberFormat("en", { notation: "compact" });
export const short = (value) => SHORT.format(value);
export const many = (value, one, more = one + "s") => `${count(value)} ${value === 1 ? one : more}`;

export function bits(perSecond) {
  if (!perSecond) return "–";
  if (perSecond < 1e6) return `${count(Math.round(perSecond / 1e3))} kbit/s`;
  if (perSecond < 1e9) return `${(perSecond / 1e6).toFixed(1)} Mbit/s`;
  return `${(perSecond / 1e9).toFixed(2)} Gbit/s`;
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit++; }
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function duration(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

export const delay = (ms) => ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
export const clock = (date) => date.toLocaleTimeString("en-GB");
export const list = (texts) => texts.length < 2 ? texts.join("") : `${texts.slice(0, -1).join(", ")} and ${texts.at(-1)}`;
