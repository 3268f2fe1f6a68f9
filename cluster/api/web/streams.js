/* The list of streams: filtered, sorted and shown page by page, so that a thousand cost no more than twenty. */

import { nameOf } from "./boxes.js";
import { $, el, keep, setText } from "./dom.js";
import { Picture } from "./picture.js";
import { bits, count, duration, many } from "./words.js";

const PAGE_ROWS = 20;
/** Pictures that play at once. */
export const MOST_PICTURES = 4;

const SORTS = {
  key: (a, b) => compare(a.key, b.key),
  node: (a, b) => compare(a.node, b.node),
  media: (a, b) => compare(media(a), media(b)),
  bits: (a, b) => a.bits_per_second - b.bits_per_second,
  age: (a, b) => a.age_ms - b.age_ms,
  players: (a, b) => a.players - b.players,
};
const compare = (a, b) => a < b ? -1 : a > b ? 1 : 0;
/** They begin with the largest. */
const NUMBERS = new Set(["bits", "age", "players"]);

export function media(stream) {
  const video = stream.tracks.find((track) => track.kind === "video");
  const size = video?.width ? `, ${video.width} × ${video.height}${video.fps ? `, ${Math.round(video.fps)} fps` : ""}` : "";
  return (stream.codecs.split(" ").filter(Boolean).map(nameOf).join(" + ") || "not known yet") + size;
}

export class Streams {
  #all = []; #shown = []; #order = []; #nodes = []; #page = 0; #sort = "players"; #falls = true; #filter = "";
  #wantsPictures = false; #inView = new Set(); #watcher; #open; #isCut = false; #isKnown = false;

  /** `open(key)`: somebody wants to see more of a stream. */
  constructor(open) {
    this.#open = open;
    this.#watcher = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) this.#inView[isIntersecting ? "add" : "delete"](target);
      this.#playThoseInView();
    });
    for (const head of document.querySelectorAll("[data-sort]")) {
      head.querySelector("button").onclick = () => this.#sortBy(head.dataset.sort, this.#sort === head.dataset.sort);
    }
    $("sort").onchange = (event) => this.#sortBy(event.target.value, false);
    $("filter").oninput = (event) => {
      this.#filter = event.target.value.trim().toLowerCase();
      this.#turnTo(0);
    };
    $("page-before").onclick = () => this.#turnTo(this.#page - 1);
    $("page-after").onclick = () => this.#turnTo(this.#page + 1);
    $("pictures").onclick = () => this.#togglePictures();
    document.addEventListener("visibilitychange", () => this.#playThoseInView());
    this.#markSort();
  }

  get wantsPictures() { return this.#wantsPictures; }
  byKey(key) { return this.#all.find((stream) => stream.key === key); }

  /** isCut: there are more, which were not asked for. */
  show(streams, nodes, isCut) {
    this.#all = streams;
    this.#nodes = nodes;
    this.#isCut = isCut;
    this.#isKnown = true;
    this.#arrange(false);
  }

  /** Where a stream is wanted elsewhere on the page: `count` pictures fewer here. */
  setPicturesElsewhere(number) {
    this.#elsewhere = number;
    this.#playThoseInView();
  }
  #elsewhere = 0;

  #sortBy(name, turns) {
    this.#falls = turns ? !this.#falls : NUMBERS.has(name);
    this.#sort = name;
    this.#markSort();
    this.#turnTo(0);
  }

  #markSort() {
    $("sort").value = this.#sort;
    for (const head of document.querySelectorAll("[data-sort]")) {
      if (head.dataset.sort === this.#sort) head.setAttribute("aria-sort", this.#falls ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  #turnTo(page) {
    this.#page = page;
    this.#arrange(true);
  }

  /** Rows do not change places under a pointer or the keyboard: only their contents do. */
  #arrange(asked) {
    const words = this.#filter;
    const fits = (stream) => !words || `${stream.key} ${stream.node} ${media(stream)}`.toLowerCase().includes(words);
    const rows = $("stream-rows"), isHeld = rows.contains(document.activeElement) || rows.matches(":hover");
    const found = this.#all.filter(fits);
    if (asked || !isHeld) {
      const sort = SORTS[this.#sort], sign = this.#falls ? -1 : 1;
      found.sort((a, b) => sign * sort(a, b) || compare(a.key, b.key));
      this.#order = found.map((stream) => stream.key);
      this.#shown = found;
    } else {
      const byKey = new Map(found.map((stream) => [stream.key, stream]));
      const kept = this.#order.filter((key) => byKey.has(key)), known = new Set(kept);
      this.#order = [...kept, ...found.map((stream) => stream.key).filter((key) => !known.has(key))];
      this.#shown = this.#order.map((key) => byKey.get(key));
    }
    this.#page = Math.max(0, Math.min(this.#page, Math.ceil(this.#shown.length / PAGE_ROWS) - 1));
    this.#draw();
  }

  #draw() {
    const first = this.#page * PAGE_ROWS, page = this.#shown.slice(first, first + PAGE_ROWS);
    keep($("stream-rows"), page, (stream) => stream.key, (stream) => this.#row(stream));
    $("stream-table").hidden = !page.length;
    $("no-streams").hidden = page.length > 0 || !this.#isKnown;
    setText($("no-streams"), this.#all.length ? `No stream has “${this.#filter}” in it.` : "Nobody publishes at present.");
    const last = first + page.length, isAll = this.#shown.length === this.#all.length;
    $("pager").hidden = this.#shown.length <= PAGE_ROWS && !this.#isCut;
    $("page-before").disabled = this.#page === 0;
    $("page-after").disabled = last >= this.#shown.length;
    setText($("page-words"), `${page.length ? `${count(first + 1)} to ${count(last)} of ` : ""}${count(this.#shown.length)}`
      + (isAll ? "" : ` (${count(this.#all.length)} in all)`)
      + (this.#isCut ? `; there are more than the first ${count(this.#all.length)} by key` : ""));
    this.#playThoseInView();
  }

  #row({ key }) {
    const video = el("video", { muted: true, playsinline: true, "aria-label": `Picture of ${key}`, tabindex: "-1" });
    const words = el("p"), open = () => this.#open(key);
    const name = el("button", { type: "button", "aria-haspopup": "dialog", click: open }, el("span", {}, key));
    const sub = el("span", { class: "sub narrow" }), cells = {};
    for (const each of ["node", "media", "bits", "age", "players"]) {
      cells[each] = el("td", { class: [each, NUMBERS.has(each) && "number", each !== "players" && "wide"].filter(Boolean).join(" ") });
    }
    const row = el("tr", {}, el("td", { class: "picture" }, el("div", { class: "thumb" }, video, words)),
      el("td", { class: "key" }, name, sub), ...Object.values(cells));
    row.picture = new Picture(video, (text) => setText(words, text), () => ({ stream: this.byKey(key), nodes: this.#nodes }));
    row.words = words;
    row.show = (stream) => {
      setText(cells.node, stream.node);
      setText(cells.media, media(stream));
      setText(cells.bits, bits(stream.bits_per_second));
      setText(cells.age, duration(stream.age_ms));
      setText(cells.players, count(stream.players));
      setText(sub, `${stream.node}, ${bits(stream.bits_per_second)}, ${duration(stream.age_ms)}`);
    };
    row.gone = () => {
      row.picture.stop();
      this.#inView.delete(row);
      this.#watcher.unobserve(row);
    };
    this.#watcher.observe(row);
    return row;
  }

  #togglePictures() {
    this.#wantsPictures = !this.#wantsPictures;
    $("pictures").setAttribute("aria-pressed", this.#wantsPictures);
    $("stream-table").classList.toggle("with-pictures", this.#wantsPictures);
    $("pictures-note").hidden = !this.#wantsPictures;
    setText($("pictures-note"), `${many(MOST_PICTURES, "picture")} at most play at once, the first in view. Each counts as a player.`);
    this.#playThoseInView();
  }

  #playThoseInView() {
    let left = this.#wantsPictures && !document.hidden ? MOST_PICTURES - this.#elsewhere : 0;
    for (const row of $("stream-rows").children) {
      if (left > 0 && this.#inView.has(row)) {
        left--;
        row.picture.start();
      } else {
        if (row.picture.isOn) row.picture.stop();
        setText(row.words, "Not played");
      }
    }
  }
}
