/* One stream, in a dialog: its picture, facts, players, way through the cluster and sessions. */

import { ask, encodedKey, isText, path } from "./api.js";
import { Chart, History } from "./chart.js";
import { $, el, keep, keepFacts, setText } from "./dom.js";
import { askFirst } from "./order.js";
import { Picture } from "./picture.js";
import { bits, bytes, count, delay, duration, list, many } from "./words.js";
import { media } from "./streams.js";
import { showRoutes, showTrace } from "./trace.js";

const REFRESH_MS = 2000;
const PAGE_ROWS = 50;
const MOST_ROUTES = 100;
/** Of a stream that is not there, and of one that may be where nobody has answered. */
const NOBODY = "Nobody publishes this stream at present.";
const UNKNOWN = "Nobody is known to publish this stream, and not all nodes have answered.";

export class Detail {
  #key = ""; #stream = null; #nodes = () => []; #chart; #history = new History(); #picture; #timer = 0; #rows = PAGE_ROWS;
  #pictures; #changed; #hasTrace = null; #aborter = null;

  /** `nodes()` gives them; `pictures(number)` hears how many play here; `changed()`: something was ordered. */
  constructor({ nodes, pictures, changed }) {
    this.#nodes = nodes;
    this.#pictures = pictures;
    this.#changed = changed;
    this.#chart = new Chart($("stream-chart"), "Players of this stream");
    this.#picture = new Picture($("stage-video"), (words) => this.#say(words), () => ({ stream: this.#stream, nodes: this.#nodes() }));
    $("stage-show").onclick = () => this.#showPicture();
    $("stream-close").onclick = () => $("stream").close();
    $("stream").onclose = () => $("stream").open || this.#closed();  // told later: it may show another
    $("stream-end").onclick = () => this.#end();
    $("sessions-more").onclick = () => {
      this.#rows += PAGE_ROWS;
      this.#refresh();
    };
  }

  /** `history`: its players so far, as far as they were seen. */
  open(key, history, withPicture) {
    if (this.#key) this.#closed();
    this.#key = key;
    this.#stream = null;
    this.#history = history;
    this.#rows = PAGE_ROWS;
    setText($("stream-key"), key);
    for (const id of ["sessions", "trace-steps", "stream-facts"]) $(id).replaceChildren();
    for (const id of ["stream-said", "stream-state", "sessions-words", "trace-words", "stage-words"]) setText($(id), "");
    $("stage-show").hidden = false;
    $("stream-end").disabled = true;
    if (!$("stream").open) $("stream").showModal();
    $("stream-key").focus();
    this.#aborter = new AbortController();
    this.#refresh().then(() => withPicture && this.#showPicture());
  }

  #closed() {
    clearTimeout(this.#timer);
    this.#aborter?.abort();
    this.#aborter = null;
    this.#picture.stop();
    this.#pictures(0);
    this.#key = "";
    if (location.hash) history.replaceState(null, "", location.pathname);
  }

  #showPicture() {
    $("stage-show").hidden = true;
    $("stage-words").tabIndex = -1;
    if (document.activeElement === document.body) $("stream-key").focus();
    this.#pictures(1);
    this.#picture.start();
  }

  #say(words) {
    setText($("stage-words"), words);
    $("stage-notice").hidden = !words;
  }

  async #refresh() {
    clearTimeout(this.#timer);
    const key = this.#key, { signal } = this.#aborter;
    const [stream, sessions] = await Promise.allSettled([this.#asked(key, signal), this.#sessions(key, signal)]);
    if (this.#key !== key) return;
    if (stream.status === "fulfilled") this.#showStream(...stream.value);
    else setText($("stream-state"), `This could not be asked for again: ${stream.reason.message}.`);
    if (sessions.status === "fulfilled") this.#showSessions(sessions.value);
    await this.#trace(key, signal);
    if (this.#key === key) this.#timer = setTimeout(() => this.#refresh(), REFRESH_MS);
  }

  /** The stream, null if nobody publishes it, and whether all have answered. A filter takes text alone. */
  async #asked(key, signal) {
    if (!isText(key)) return [await ask(path`/v1/streams/${key}`, { signal }), true];
    const { items, complete } = await ask(`/v1/streams?key=${encodedKey(key)}`, { signal });
    return [items.find((each) => each.key === key) || null, complete];  // a * at its end finds others too
  }

  /** The first of them: pages until there are as many as are to be shown. */
  async #sessions(key, signal) {
    const found = { items: [], missing: [], isMore: false };
    for (let cursor = ""; ;) {
      const limit = Math.min(this.#rows - found.items.length, 1000);
      const page = await ask(`/v1/sessions?key=${encodedKey(key)}&limit=${limit}` + (cursor && `&cursor=${cursor}`), { signal });
      found.items.push(...page.items);
      found.missing = page.missing;
      found.isMore = page.next !== null;
      if (!found.isMore || found.items.length >= this.#rows) return found;
      cursor = page.next;
    }
  }

  #showStream(stream, isComplete) {
    this.#stream = stream;
    $("stream-end").disabled = !stream;
    setText($("stream-state"), stream ? "" : isComplete ? NOBODY : UNKNOWN);
    if (!stream) return;
    const byKind = new Map();
    for (const { kind, count: number } of stream.players_by) byKind.set(kind || "kind not told", (byKind.get(kind || "kind not told") || 0) + number);
    const nodes = [...new Set(stream.players_by.filter((each) => each.count).map((each) => each.node))];
    keepFacts($("stream-facts"), [
      ["Published at", `${stream.node}, worker ${stream.worker}`],
      ["By", stream.peer || "–"],
      ["With", stream.agent || "–"],
      ["For", duration(stream.age_ms)],
      ["Tracks", stream.tracks.map(trackWords).join("; ") || media(stream)],
      ["Bit rate", bits(stream.bits_per_second)],
      ["Keyframe every", stream.keyframe_interval_ms ? delay(stream.keyframe_interval_ms) : "–"],
      ["Received", bytes(stream.received_bytes)],
      ["Players", count(stream.players) + (nodes.length ? ` at ${list(nodes.length > 5 ? [...nodes.slice(0, 5), `${nodes.length - 5} more nodes`] : nodes)}` : "")],
      ["As", [...byKind].map(([kind, number]) => `${kind} ${count(number)}`).join(", ") || "–"],
    ]);
    this.#chart.show(this.#history.points);
  }

  #showSessions({ items, missing, isMore }) {
    const focused = document.activeElement;
    keep($("sessions"), items, (session) => session.session, (session) => this.#item(session));
    if (focused && !focused.isConnected) $("stream-key").focus();
    $("sessions-more").hidden = !isMore;
    setText($("sessions-words"), (items.length ? "" : "There are none. ")
      + (missing.length ? `Those of ${list([...new Set(missing.map((each) => each.node))])} are missing: no answer.` : ""));
  }

  #item({ session }) {
    const name = el("h3"), facts = el("p"), trouble = el("p", { class: "trouble" });
    const button = el("button", { type: "button", class: "danger", click: () => this.#kick(item.session) }, "Kick …");
    const item = el("li", {}, el("div", {}, name, facts), button, trouble);
    item.show = (now) => {
      item.session = now;
      setText(name, `${now.role === "publisher" ? "Publisher" : "Player"} ${now.peer}`);
      button.setAttribute("aria-label", `Kick ${now.role} ${now.peer} …`);
      const sent = now.role === "publisher" ? `received ${bytes(now.received_bytes)}` : `sent ${bytes(now.sent_bytes || 0)}`;
      setText(facts, [`${now.kind}${now.secure ? " with TLS" : ""} at ${now.node}`, now.state, duration(now.age_ms), sent,
        now.role === "player" && `${delay(now.delay_ms)} behind live`, now.queue_bytes && `${bytes(now.queue_bytes)} queued`, now.agent, session,
      ].filter(Boolean).join(", "));
      const dropped = Object.entries(now.dropped).filter(([, number]) => number);
      setText(trouble, dropped.length ? `Not passed on: ${dropped.map(([why, number]) => `${many(number, "message")} (${why})`).join(", ")}.` : "");
    };
    return item;
  }

  #kick(session) {
    askFirst({
      title: `Kick this ${session.role}?`, action: "Kick", hasWhy: true,
      text: `The connection of ${session.peer} at ${session.node} is closed. Its peer may come again at once.`,
      request: (_, why) => [path`/v1/sessions/${session.session}` + query({ why }), { method: "DELETE" }],
    }, () => this.#again());
  }

  #end() {
    const key = this.#key;
    askFirst({
      title: `End ${key}?`, action: "End the stream", hasWhy: true,
      text: "Its publisher is closed, and nobody may publish this key for a while. "
        + `${many(this.#stream?.players || 0, "player")} will see it end.`,
      choice: { name: "Keep the key closed for", options: [[10, "10 seconds"], [60, "1 minute"], [600, "10 minutes"], [3600, "1 hour"], [86400, "1 day"]], first: 10 },
      request: (closed, why) => [path`/v1/streams/${key}` + query({ closed_s: closed, why }), { method: "DELETE" }],
    }, () => this.#again());
  }

  #again() {
    this.#changed();
    if (this.#key) this.#refresh();
  }

  /** Its way, hop by hop if this API says that it tells it. */
  async #trace(key, signal) {
    if (!this.#stream) return;
    try {
      this.#hasTrace ??= "/v1/streams/{key}/trace" in (await ask("/v1/openapi.json", { signal })).paths;
      const way = await ask(this.#hasTrace ? path`/v1/streams/${key}/trace`
        : `/v1/routes?key=${encodedKey(key)}&limit=${MOST_ROUTES}`, { signal });
      if (this.#key !== key || !this.#stream) return;
      if (this.#hasTrace) showTrace(way);
      else showRoutes(this.#stream, way);
    } catch (error) {
      if (this.#key === key) setText($("trace-words"), `Its way could not be asked for: ${error.message}.`);
    }
  }
}

const query = (given) => {
  const text = new URLSearchParams(Object.entries(given).filter(([, value]) => value !== "")).toString();
  return text && `?${text}`;
};

function trackWords(track) {
  const what = track.profile || track.codec;
  if (track.kind === "video") return `${what}${track.width ? ` ${track.width} × ${track.height}` : ""}${track.fps ? `, ${Number(track.fps.toFixed(2))} fps` : ""}`;
  return `${what}${track.sample_rate ? ` ${track.sample_rate / 1000} kHz` : ""}${track.channels ? `, ${many(track.channels, "channel")}` : ""}`;
}
