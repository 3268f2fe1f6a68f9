/* Asks the API that this page came from. */

const NAME = "rtmp-cluster token";
const TIMEOUT_MS = 8000;

/** Kept for this tab alone; where the browser keeps nothing, for this page. */
export const token = {
  kept: "",
  get() { try { return sessionStorage.getItem(NAME) || this.kept; } catch { return this.kept; } },
  set(value) {
    this.kept = value;
    try { value ? sessionStorage.setItem(NAME, value) : sessionStorage.removeItem(NAME); } catch { /* kept here */ }
  },
};

/** Why there is no answer. status 0: nothing has answered. */
export class Problem extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

export async function ask(path, { method = "GET", body = null, signal = null } = {}) {
  const headers = {};
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (method !== "GET") headers["Idempotency-Key"] = newName();
  if (body) headers["Content-Type"] = "application/json";
  const signals = [AbortSignal.timeout(TIMEOUT_MS), signal].filter(Boolean);
  let response, text;
  try {
    response = await fetch(path, {
      method, headers, body: body && JSON.stringify(body), cache: "no-store", credentials: "omit", signal: AbortSignal.any(signals),
    });
    text = await response.text();
  } catch (error) {
    throw new Problem(0, error.name === "TimeoutError" ? `it has not answered within ${TIMEOUT_MS / 1000} s` : "nothing answers there");
  }
  let said = null;
  try { said = JSON.parse(text); } catch { /* not of this API */ }
  if (!response.ok) throw new Problem(response.status, said?.detail || `it answers ${response.status}`);
  if (!said) throw new Problem(response.status, "what answers there is not this API");
  return said;
}

/** A path with values in it: path`/v1/streams/${key}`. Slashes in a key may stay. */
export const path = (texts, ...values) => texts.reduce((all, text, i) => all + encodedKey(values[i - 1]) + text);

/** Bytes of a key that are no text come as the halves of surrogate pairs (Python's "surrogateescape"). */
const HALF = /\p{Surrogate}/u;
export const isText = (key) => !HALF.test(key);

/** The API takes a last part that is "trace" for its own word. */
export function encodedKey(key) {
  const text = String(key), [, begin, end] = /^(.*)(\/trace)$/su.exec(text) || [, text, ""];
  return encodedText(begin) + end.replace("/", "%2F");
}

function encodedText(text) {
  return text.replace(/\p{Surrogate}|[^/\p{Surrogate}]+/gu, (part) =>
    isText(part) ? encodeURIComponent(part) : "%" + (part.charCodeAt(0) & 0xff).toString(16).toUpperCase().padStart(2, "0"));
}

/** A new name for an order. */
function newName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
