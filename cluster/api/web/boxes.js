/* What an MP4 without end is made of: the same lines as in the page that plays a stream (edge/http/page.html),
   which is one file. A test holds them together. */

// ---- Boxes of an MP4 ----------------------------------------------------------------------------------

const u16 = (b, at) => b[at] << 8 | b[at + 1];
const u32 = (b, at) => (b[at] << 24 | b[at + 1] << 16 | b[at + 2] << 8 | b[at + 3]) >>> 0;
const u64 = (b, at) => u32(b, at) * 2 ** 32 + u32(b, at + 4);
const fourcc = (b, at) => String.fromCharCode(b[at], b[at + 1], b[at + 2], b[at + 3]);
const hex = (n) => n.toString(16).toUpperCase().padStart(2, "0");
const two = (n) => String(n).padStart(2, "0");

/** The whole boxes between two places: {type, start, body, end}. */
function boxesIn(b, from, to) {
  const found = [];
  while (from + 8 <= to) {
    let size = u32(b, from), head = 8;
    if (size === 1 && from + 16 <= to) { size = u64(b, from + 8); head = 16; }
    if (size < head || from + size > to) break;
    found.push({ type: fourcc(b, from + 4), start: from, body: from + head, end: from + size });
    from += size;
  }
  return found;
}
const child = (b, box, type, skip = 0) => box && boxesIn(b, box.body + skip, box.end).find((x) => x.type === type);
const descend = (b, box, ...types) => types.reduce((at, type) => child(b, at, type), box);
const sizeOfFirst = (b) => b.length < 16 ? 0 : u32(b, 0) === 1 ? u64(b, 8) : u32(b, 0);

function join(parts) {
  if (parts.length === 1) return parts[0];
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return all;
}

/** Cuts what arrives into whole boxes. */
class Cutter {
  #parts = []; #length = 0; #wanted = 16;
  push(chunk) {
    this.#parts.push(chunk);
    this.#length += chunk.length;
    if (this.#length < this.#wanted) return [];
    const b = join(this.#parts), boxes = boxesIn(b, 0, b.length);
    const rest = b.subarray(boxes.length ? boxes.at(-1).end : 0);
    this.#parts = rest.length ? [rest] : [];
    this.#length = rest.length;
    this.#wanted = Math.max(16, sizeOfFirst(rest));
    return boxes.map((box) => ({ type: box.type, bytes: b.subarray(box.start, box.end) }));
  }
}

function descriptor(b, at, end, tag) {
  while (at + 2 <= end) {
    const found = b[at++];
    let size = 0, more;
    do { more = b[at]; size = size << 7 | more & 127; at++; } while (more & 128 && at < end);
    if (found === tag) return { at, end: at + size };
    at += size;
  }
  return null;
}

function codecsOfAac(b, esds) {
  const es = descriptor(b, esds.body + 4, esds.end, 3);
  const config = es && descriptor(b, es.at + 3, es.end, 4);
  if (!config) return "mp4a.40.2";
  const kind = b[config.at];
  if (kind !== 0x40) return "mp4a." + hex(kind);
  const info = descriptor(b, config.at + 13, config.end, 5);
  let object = info ? b[info.at] >> 3 : 2;
  if (object === 31) object = 32 + ((b[info.at] & 7) << 3 | b[info.at + 1] >> 5);
  return "mp4a.40." + object;
}

function codecsOfHevc(b, at) {
  let compatible = 0;
  for (let bit = 0, flags = u32(b, at + 2); bit < 32; bit++) compatible |= (flags >>> bit & 1) << 31 - bit;
  let last = at + 11;
  while (last >= at + 6 && !b[last]) last--;
  return "." + ["", "A", "B", "C"][b[at + 1] >> 6] + (b[at + 1] & 31) + "." + (compatible >>> 0).toString(16).toUpperCase() +
    "." + (b[at + 1] & 32 ? "H" : "L") + b[at + 12] +
    Array.from(b.subarray(at + 6, last + 1), (x) => "." + x.toString(16).toUpperCase()).join("");
}

/** What MediaSource wants to be told of a sample entry (RFC 6381). */
function codecsOf(b, entry, isVideo) {
  const inside = (type) => child(b, entry, type, isVideo ? 78 : 28);
  const box = { avc1: "avcC", avc3: "avcC", hvc1: "hvcC", hev1: "hvcC", av01: "av1C", vp09: "vpcC", mp4a: "esds" }[entry.type];
  const config = box && inside(box), at = config && config.body;
  if (box && !config) return entry.type;
  switch (entry.type) {
    case "avc1": case "avc3": return entry.type + "." + hex(b[at + 1]) + hex(b[at + 2]) + hex(b[at + 3]);
    case "hvc1": case "hev1": return entry.type + codecsOfHevc(b, at);
    case "av01": return "av01." + (b[at + 1] >> 5) + "." + two(b[at + 1] & 31) + (b[at + 2] & 128 ? "H" : "M") + "." +
      (b[at + 2] & 64 ? b[at + 2] & 32 ? "12" : "10" : "08");
    case "vp09": return "vp09." + two(b[at + 4]) + "." + two(b[at + 5]) + "." + two(b[at + 6] >> 4);
    case "mp4a": return codecsOfAac(b, config);
    case ".mp3": return "mp3";
    default: return entry.type.trim().toLowerCase();  // opus, flac, ac-3, ec-3
  }
}

const NAMES = {
  avc1: "H.264", avc3: "H.264", hvc1: "HEVC", hev1: "HEVC", av01: "AV1", vp09: "VP9", vp08: "VP8", vvc1: "VVC",
  opus: "Opus", flac: "FLAC", "ac-3": "AC-3", "ec-3": "E-AC-3", mp3: "MP3", "mp4a.6B": "MP3", "mp4a.69": "MP3", "mp4a.40.34": "MP3", mp4a: "AAC",
};
const nameOf = (codecs) => NAMES[codecs] || NAMES[codecs.split(".")[0]] || codecs;
const told = (track) => nameOf(track.codecs) + (track.codecs.includes(".") ? ` (${track.codecs})` : "");

/** The tracks that an initialization segment announces: {id, kind, codecs, timescale}. */
function tracksOf(b) {
  const moov = boxesIn(b, 0, b.length).find((box) => box.type === "moov");
  return boxesIn(b, moov.body, moov.end).filter((box) => box.type === "trak").map((trak) => {
    const tkhd = child(b, trak, "tkhd"), mdia = child(b, trak, "mdia"), mdhd = child(b, mdia, "mdhd");
    const isVideo = fourcc(b, child(b, mdia, "hdlr").body + 8) === "vide";
    const stsd = descend(b, mdia, "minf", "stbl", "stsd");
    const entry = boxesIn(b, stsd.body + 8, stsd.end)[0];
    return {
      id: u32(b, tkhd.body + (b[tkhd.body] ? 20 : 12)),
      kind: isVideo ? "video" : "audio",
      codecs: entry ? codecsOf(b, entry, isVideo) : "unknown",
      timescale: u32(b, mdhd.body + (b[mdhd.body] ? 20 : 12)) || 1000,
    };
  });
}

/** The same initialization segment without some tracks. */
function without(b, ids) {
  const drop = (box) => box.type === "trak" ? ids.has(u32(b, child(b, box, "tkhd").body + (b[child(b, box, "tkhd").body] ? 20 : 12)))
    : box.type === "trex" && ids.has(u32(b, box.body + 4));
  const copy = (box) => {
    if (box.type !== "moov" && box.type !== "mvex") return b.subarray(box.start, box.end);
    const inside = boxesIn(b, box.body, box.end).filter((x) => !drop(x)).map(copy);
    const head = new Uint8Array(b.subarray(box.start, box.body));
    new DataView(head.buffer).setUint32(0, head.length + inside.reduce((sum, x) => sum + x.length, 0));
    return join([head, ...inside]);
  };
  return join(boxesIn(b, 0, b.length).map(copy));
}

/** The first track of a fragment and its decode time in ticks. */
function timeOf(b) {
  const traf = child(b, boxesIn(b, 0, b.length)[0], "traf");
  const tfhd = child(b, traf, "tfhd"), tfdt = child(b, traf, "tfdt");
  if (!tfhd || !tfdt) return null;
  return { id: u32(b, tfhd.body + 4), ticks: b[tfdt.body] ? u64(b, tfdt.body + 4) : u32(b, tfdt.body + 4) };
}

export { Cutter, join, nameOf, timeOf, tracksOf, without };
