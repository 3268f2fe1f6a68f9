// Reads clock_picture.py's picture in a page: clockPicture.read(video) is {delay_ms, bars: [[r, g, b] …]},
// or null while nothing can be read. CLOCK_PICTURE has the picture's measures.
window.clockPicture = (() => {
  const { width, height, block, timeBits, checkBits, bars } = CLOCK_PICTURE;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  function read(video) {
    if (video.readyState < 2) return null;
    context.drawImage(video, 0, 0, width, height);
    const now = Date.now();
    const strip = context.getImageData(0, block / 2, width, 1).data;
    let bits = 0;
    for (let at = 0; at < timeBits + checkBits; at++) {
      bits = bits * 2 + (strip[(at * block + block / 2) * 4] > 127 ? 1 : 0);
    }
    const time = bits >> checkBits;
    if (((time ^ time >> 4 ^ time >> 8 ^ time >> 12) & 15) !== (bits & 15)) return null;
    const row = context.getImageData(0, height / 2, width, 1).data;
    const seen = [];
    for (let bar = 0; bar < bars; bar++) {
      const at = Math.floor((bar + 0.5) * width / bars) * 4;
      seen.push([row[at], row[at + 1], row[at + 2]]);
    }
    const period = 2 ** timeBits;
    return { delay_ms: ((now - time) % period + period) % period, bars: seen };
  }
  /** Reads each picture shown for some time: when, in Unix ms, and how old it was; the last bars, how many could not
   *  be read, and how often the browser drew anything. */
  function watch(video, for_ms) {
    return new Promise((done) => {
      const delays = [], from_ms = Date.now();
      let bars = null, unread = 0, drawn = 0, ended = false;
      const each = () => {
        const seen = read(video);
        if (seen) { delays.push([Date.now(), seen.delay_ms]); bars = seen.bars; } else unread++;
        if (!ended) video.requestVideoFrameCallback(each);
      };
      const draw = () => { drawn++; if (!ended) requestAnimationFrame(draw); };
      video.requestVideoFrameCallback(each);
      requestAnimationFrame(draw);
      setTimeout(() => { ended = true; done({ delays, bars, unread, drawn, from_ms, to_ms: Date.now() }); }, for_ms);
    });
  }
  /** What viewers see as a stall, from the first picture on: [from, to] in Unix ms, to is null while it lasts. */
  const stalls = [];
  let hasPlayed = false;
  const goesOn = () => { hasPlayed = true; const last = stalls.at(-1); if (last && !last[1]) last[1] = Date.now(); };
  const waits = (event) => { if (hasPlayed && !event.target.seeking) stalls.push([Date.now(), null]); };
  /** Hears what happens to the videos in root. A page that is written anew has forgotten who listened. */
  function listen(root) {
    root.addEventListener("playing", goesOn, true);
    root.addEventListener("seeking", goesOn, true);
    root.addEventListener("waiting", waits, true);
  }
  listen(document);
  return { read, watch, stalls, listen };
})();
