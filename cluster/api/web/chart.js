/* A number over time, drawn as SVG from what this page has seen itself. */

import { count, short } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 400, HEIGHT = 120, LEFT = 44, BOTTOM = 20, TOP = 10, RIGHT = 8;
const LEAST_SPAN_MS = 60_000;
/** Without a number for so long, the line is broken: nobody knows. */
const GAP_MS = 20_000;

/** The newest numbers, with their times. */
export class History {
  points = [];
  constructor(most = 600) { this.most = most; }
  add(at, value) {
    this.points.push({ at, value });
    if (this.points.length > this.most) this.points.shift();
  }
}

function draw(tag, given, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(given)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

/** The least round number that is not below `value`: 1, 2, 5, 10, 20, … */
function roundedUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= value);
}

export class Chart {
  #svg = draw("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  #what;
  constructor(place, what) { this.#what = what; place.append(this.#svg); }

  show(points, now = Date.now()) {
    const from = Math.min(points.length ? points[0].at : now, now - LEAST_SPAN_MS);
    const most = Math.max(...points.map((point) => point.value), 0), top = roundedUp(most);
    const x = (at) => LEFT + (at - from) / (now - from) * (WIDTH - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP);
    const parts = [];
    for (const value of top > 1 ? [0, top / 2, top] : [0, top]) {
      parts.push(draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
      parts.push(draw("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, Number.isInteger(value) ? short(value) : ""));
    }
    const spanS = (now - from) / 1000, ago = spanS < 120 ? `${Math.round(spanS)} s ago` : `${Math.round(spanS / 60)} min ago`;
    parts.push(draw("text", { x: LEFT, y: HEIGHT - 4 }, ago));
    parts.push(draw("text", { x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, "now"));
    for (const run of this.#runs(points)) {
      const line = run.map((point) => `${x(point.at).toFixed(1)},${y(point.value).toFixed(1)}`);
      const ends = [`${x(run[0].at).toFixed(1)},${y(0)}`, `${x(run.at(-1).at).toFixed(1)},${y(0)}`];
      parts.push(draw("polygon", { class: "area", points: [ends[0], ...line, ends[1]].join(" ") }));
      parts.push(draw("polyline", { class: "line", points: line.join(" ") }));
    }
    const newest = points.at(-1);
    if (newest) parts.push(draw("circle", { class: "now", cx: x(newest.at), cy: y(newest.value), r: 3.5 }));
    this.#svg.replaceChildren(...parts);
    this.#svg.setAttribute("aria-label", newest
      ? `${this.#what} over time: ${count(newest.value)} last, ${count(most)} at most, since ${ago}` : `${this.#what} over time: nothing is known yet`);
  }

  #runs(points) {
    const runs = [];
    let before = null;
    for (const point of points) {
      if (!before || point.at - before.at > GAP_MS) runs.push([]);
      runs.at(-1).push(point);
      before = point;
    }
    return runs;
  }
}
