/* The dashboard: asks the API again and again, and shows what it says. Nothing is kept anywhere else. */

import { Problem, ask, encodedKey, token } from "./api.js";
import { Chart, History } from "./chart.js";
import { Detail } from "./detail.js";
import { $, el, keep, keepFacts, setText } from "./dom.js";
import { Events, Nodes, missingWords, showRouters } from "./nodes.js";
import { setUpOrders } from "./order.js";
import { Streams } from "./streams.js";
import { bits, clock, count } from "./words.js";

const EVERY_MS = 2000, HIDDEN_MS = 10_000, LAST_RETRY_MS = 10_000;
/** A thousand streams take their time: they are asked for so many times less often than that takes. */
const STREAMS_SHARE = 10, STREAMS_LAST_MS = 30_000;
const PAGE = 1000, MOST_STREAMS = 5000;

let overview = null, streamsAt = 0, failures = 0, failedAt = null, timer = 0, isAsking = false;
const players = new History(), playersOf = new Map();

const streams = new Streams(openStream);
const nodes = new Nodes(soon);
const events = new Events();
const playersChart = new Chart($("players-chart"), "Players of the whole cluster");
const detail = new Detail({
  nodes: () => overview?.nodes.items || [], changed: soon, pictures: (number) => streams.setPicturesElsewhere(number),
});

// ---- Asking -------------------------------------------------------------------------------------------

async function tick() {
  clearTimeout(timer);
  if (isAsking) return;
  isAsking = true;
  try {
    const [cluster, nodeList, routers, news] = await Promise.all([
      ask("/v1/cluster"), ask("/v1/nodes"), ask("/v1/routers"), ask(`/v1/events?after=${events.last}`),
    ]);
    overview = { cluster, nodes: nodeList, routers };
    events.add(news);
    players.add(Date.now(), cluster.players);
    if (!document.hidden && performance.now() >= streamsAt) await askStreams();
    failures = 0;
    failedAt = null;
    show();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    failed(error);
  } finally {
    isAsking = false;
    const wait = failures ? Math.min(LAST_RETRY_MS, EVERY_MS * 2 ** (failures - 1)) : document.hidden ? HIDDEN_MS : EVERY_MS;
    if (!$("token").open) timer = setTimeout(tick, wait);
  }
}

async function askStreams() {
  const began = performance.now(), found = [];
  let cursor = "", answer = null;
  do {
    answer = await ask(`/v1/streams?limit=${PAGE}` + (cursor && `&cursor=${cursor}`));
    found.push(...answer.items);
    cursor = answer.next;
  } while (cursor && found.length < MOST_STREAMS);
  const now = performance.now();
  streamsAt = now + Math.min(STREAMS_LAST_MS, STREAMS_SHARE * (now - began));
  for (const { key, players: number } of found) historyOf(key).add(Date.now(), number);
  const keys = new Set(found.map((stream) => stream.key));
  for (const key of playersOf.keys()) if (!keys.has(key)) playersOf.delete(key);
  streams.show(found, overview.nodes.items, cursor !== null);
}

function historyOf(key) {
  if (!playersOf.has(key)) playersOf.set(key, new History(300));
  return playersOf.get(key);
}

/** Something was changed here: it is looked at without waiting. */
function soon() {
  streamsAt = 0;
  tick();
}

// ---- Showing ------------------------------------------------------------------------------------------

function show() {
  const { cluster, nodes: nodeList, routers } = overview;
  document.body.classList.remove("stale");
  keepFacts($("numbers"), [
    ["Streams", count(cluster.streams)],
    ["Players", count(cluster.players)],
    ["Nodes", count(cluster.nodes)],
    ["Routers", cluster.routers === cluster.routers_answering ? count(cluster.routers) : `${cluster.routers_answering} of ${cluster.routers}`],
    ["In", bits(cluster.received_bits_per_s)],
    ["Out", bits(cluster.sent_bits_per_s)],
  ]);
  playersChart.show(players.points);
  nodes.show(nodeList);
  showRouters(routers);
  const words = missingWords(nodeList);
  warn(words.map((text) => [text, "wait"]));
  setState(words.length ? "wait" : "live", words.length ? "Not all answer" : "Live");
}

function failed(problem) {
  failures++;
  failedAt ||= new Date();
  if (problem.status === 401 || problem.status === 403 && !overview) {
    setState("bad", problem.status === 401 ? "Token wanted" : "Not allowed");
    warn([[sentence(problem.message), "bad"]]);
    if (problem.status === 401 && !$("token").open) askToken(token.get() ? problem.message : "");
    return;
  }
  document.body.classList.toggle("stale", overview !== null);
  const what = problem.status ? `The API answers with a fault: ${problem.message}` : `The API cannot be reached: ${problem.message}`;
  const old = overview ? ` What is shown is of ${clock(failedAt)}.` : "";
  warn([[`${what}.${old} It is asked again every few seconds.`, "bad"]]);
  setState("bad", problem.status ? "API at fault" : "API unreachable");
}

const sentence = (text) => text[0].toUpperCase() + text.slice(1) + ".";

function setState(state, words) {
  $("state").dataset.state = state;
  setText($("state"), words);
}

function warn(all) {
  keep($("warnings"), all, ([text]) => text, ([text, state]) => Object.assign(el("p", { "data-state": state }, text), { show() {} }));
}

// ---- The token ----------------------------------------------------------------------------------------

function askToken(why) {
  clearTimeout(timer);
  $("token-problem").textContent = why && sentence(why);
  $("token-input").value = "";
  $("token-forget").hidden = !token.get();
  $("token-button").hidden = false;
  $("token").showModal();
  $("token-input").focus();
}

function setUpToken() {
  $("token-button").hidden = !token.get();
  $("token-button").onclick = () => askToken("");
  $("token-form").onsubmit = (event) => {
    event.preventDefault();
    token.set($("token-input").value.trim());
    $("token").close();
  };
  $("token-cancel").onclick = () => $("token").close();
  $("token-forget").onclick = () => {
    token.set("");
    location.reload();
  };
  $("token").onclose = () => {
    failures = 0;
    if (token.get()) soon();
  };
}

// ---- One stream: its address can be kept --------------------------------------------------------------

function openStream(key) {
  history.replaceState(null, "", `#stream=${encodedKey(key)}`);
  detail.open(key, historyOf(key), streams.wantsPictures);
}

function openWhatTheAddressNames() {
  const [, key] = /^#stream=(.+)$/.exec(location.hash) || [];
  if (key) try { openStream(decodeURIComponent(key)); } catch { /* not an address of ours */ }
}

setUpOrders();
setUpToken();
document.addEventListener("visibilitychange", () => document.hidden || soon());
addEventListener("hashchange", openWhatTheAddressNames);
tick().then(openWhatTheAddressNames);
