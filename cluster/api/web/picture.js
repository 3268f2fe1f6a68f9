/* The picture of a stream, without its sound, in a video element: the MP4 without end of an edge. */

import { encodedKey } from "./api.js";
import { Cutter, join, nameOf, timeOf, tracksOf, without } from "./boxes.js";
import { avoid, placesOf } from "./places.js";

const Source = window.MediaSource || window.ManagedMediaSource;
/** An edge that has not begun to answer: it waits for a publisher, or it is not there. */
const ANSWER_MS = 6000;
const AGAIN_MS = 4000;
const BEHIND_S = 0.4, JUMP_S = 1.5;   // behind the newest picture: at first, and what is left out
const KEEP_S = 8, TRIM_AT_S = 20;     // of what has been shown
const MARGIN_S = 0.01;                // before the first picture
const ANSWERS = {
  401: "The edge asks for a password or token", 403: "The edge does not let this page see it",
  404: "Nobody publishes it", 503: "The edge takes no more viewers",
};

/** Something that trying again soon does not mend. */
class Hopeless extends Error {}
const isOurs = (error) => error instanceof Hopeless || error.constructor === Error;

export class Picture {
  #video; #say; #which; #aborter = null; #timer = 0;

  /** `say(words)`: why there is no picture, "" once there is. `which()`: the stream and the nodes as they are now. */
  constructor(video, say, which) {
    this.#video = video;
    this.#say = say;
    this.#which = which;
    video.muted = true;
  }

  get isOn() { return this.#aborter !== null; }

  start() {
    if (this.isOn) return;
    this.#aborter = new AbortController();
    this.#say("Connecting …");
    this.#run(this.#aborter.signal);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#aborter?.abort();
    this.#aborter = null;
    this.#video.removeAttribute("src");
    this.#video.load();
  }

  async #run(signal) {
    let words = "The stream has ended";
    try {
      await this.#play(signal);
    } catch (error) {
      words = isOurs(error) ? error.message : "The connection was lost";
      if (error instanceof Hopeless) { if (!signal.aborted) this.#say(words); return; }
    }
    if (signal.aborted) return;
    this.#say(words);
    this.#timer = setTimeout(() => signal.aborted || this.#run(signal), AGAIN_MS);
  }

  async #play(signal) {
    if (!Source) throw new Hopeless("This browser has no Media Source Extensions");
    const { stream, nodes } = this.#which();
    if (!stream) throw new Error("Nobody publishes it");
    if (stream.tracks.length && !stream.tracks.some((track) => track.kind === "video")) throw new Hopeless("Sound only");
    const response = await this.#open(stream, nodes, signal);
    const reader = response.body.getReader(), cutter = new Cutter();
    const shown = new Shown(this.#video, signal, () => this.#say(""), () => reader.cancel().catch(() => {}));
    let head = [];
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (shown.fault) throw shown.fault;
        if (done || signal.aborted) return;
        for (const { type, bytes } of cutter.push(value)) {
          if (type === "ftyp" || type === "moof") head = [bytes];
          else head.push(bytes);
          if (type === "moov" && !await shown.init(join(head))) this.#say("Sound only");
          if (type === "mdat") shown.fragment(join(head));
        }
      }
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  async #open(stream, nodes, signal) {
    const { places, why } = placesOf(stream, nodes);
    for (const place of places) {
      const late = new AbortController(), timer = setTimeout(() => late.abort(), ANSWER_MS);
      let response;
      try {
        response = await fetch(`${place}/${encodedKey(stream.key)}.mp4`, {
          signal: AbortSignal.any([signal, late.signal]), cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer",
        });
      } catch (error) {
        if (signal.aborted) throw error;
        avoid(place);
        continue;
      } finally {
        clearTimeout(timer);
      }
      if (response.ok) return response;
      const words = ANSWERS[response.status] || `The edge answers ${response.status}`;
      throw response.status === 404 || response.status === 503 ? new Error(words) : new Hopeless(words);
    }
    throw new Error(why);
  }
}

/** What a MediaSource is fed with. */
class Shown {
  #video; #signal; #onPicture; #buffer = null; #mime = ""; #track = null; #jobs = []; #offset = null; #onFault;
  fault = null;

  /** `onFault()`: it goes on no more, and `fault` says why. */
  constructor(video, signal, onPicture, onFault) {
    this.#onFault = onFault;
    this.#video = video;
    this.#signal = signal;
    this.#onPicture = onPicture;
  }

  /** What comes is of these tracks from now on. False: there is no picture among them. */
  async init(bytes) {
    const tracks = tracksOf(bytes), track = tracks.find((each) => each.kind === "video");
    this.#track = track || null;
    if (!track) return false;
    const mime = `video/mp4; codecs="${track.codecs}"`;
    if (!Source.isTypeSupported(mime)) throw new Hopeless(`This browser cannot play ${nameOf(track.codecs)}`);
    if (!this.#buffer) await this.#open(mime);
    const others = new Set(tracks.filter((each) => each !== track).map((each) => each.id));
    this.#jobs.push({ mime, bytes: others.size ? without(bytes, others) : bytes });
    this.#pump();
    return true;
  }

  async #open(mime) {
    const source = new Source();
    this.#video.disableRemotePlayback = true;  // a ManagedMediaSource wants that
    const opened = new Promise((done) => source.addEventListener("sourceopen", done, { once: true }));
    const url = URL.createObjectURL(source);
    this.#video.src = url;
    await opened;
    URL.revokeObjectURL(url);
    if (this.#signal.aborted) throw new Error("");
    this.#mime = mime;
    this.#buffer = source.addSourceBuffer(mime);
    this.#buffer.addEventListener("updateend", () => this.#pump());
  }

  fragment(bytes) {
    const time = timeOf(bytes);
    if (!this.#track || time?.id !== this.#track.id) return;
    // From zero on, where the video is; less would be left out.
    if (this.#offset === null) this.#offset = MARGIN_S - time.ticks / this.#track.timescale;
    this.#jobs.push({ bytes });
    this.#pump();
  }

  #pump() {
    try {
      if (this.fault || this.#signal.aborted || this.#buffer.updating) return;
      if (this.#video.error) throw new Error("This browser could not decode what came");
      this.#follow();
      const { buffered } = this.#buffer, now = this.#video.currentTime;
      if (buffered.length && now - buffered.start(0) > TRIM_AT_S) {
        this.#buffer.remove(0, now - KEEP_S);
        return;
      }
      if (!this.#jobs.length) return;
      if (this.#offset !== null && this.#buffer.timestampOffset !== this.#offset) this.#buffer.timestampOffset = this.#offset;
      if (this.#jobs[0].mime && this.#jobs[0].mime !== this.#mime) this.#buffer.changeType(this.#mime = this.#jobs[0].mime);
      const next = this.#jobs.findIndex((job, place) => place > 0 && job.mime);
      this.#buffer.appendBuffer(join(this.#jobs.splice(0, next < 0 ? this.#jobs.length : next).map((job) => job.bytes)));
    } catch (error) {
      this.fault = isOurs(error) ? error : new Error("This browser could not play on");
      this.#onFault();
    }
  }

  /** To the newest picture, if that is far, or behind a hole. */
  #follow() {
    const { buffered } = this.#buffer, video = this.#video;
    if (!buffered.length) return;
    const from = buffered.start(buffered.length - 1), end = buffered.end(buffered.length - 1);
    // Its first picture is under way: WebKitGTK hangs, now and then, where one seeks before that.
    if (video.readyState < 2 && from <= video.currentTime + 0.05) return;
    if (video.currentTime < from - 0.05 || end - video.currentTime > JUMP_S + BEHIND_S) video.currentTime = Math.max(from, end - BEHIND_S);
    if (video.paused) video.play().catch(() => {});
    if (video.readyState > 1) this.#onPicture();
  }
}
