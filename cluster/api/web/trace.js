/* The way of a stream through the cluster, station by station, with the delay of each. */

import { $, el, keep, setText } from "./dom.js";
import { bits, count, delay, many } from "./words.js";

const KINDS = { publisher: "Publisher", origin: "Origin", router: "Router", repeater: "Repeater", worker: "Node" };
const MOST_SHOWN = 200;
/** A hop that takes longer is pointed out. */
const SLOW_MS = 200;

/** What the trace of a stream says: a tree, which is shown from its root on. */
export function showTrace({ hops }) {
  const after = new Map();
  for (const hop of hops) after.set(hop.from_hop, [...(after.get(hop.from_hop) || []), hop]);
  const rows = [];
  const add = (hop, depth) => {
    rows.push({ ...hop, depth });
    for (const next of after.get(hop.number) || []) add(next, depth + 1);
  };
  for (const root of after.get(-1) || []) add(root, 0);
  const longest = Math.max(...rows.map((hop) => hop.total_ms || 0), 1), shown = rows.slice(0, MOST_SHOWN);
  keep($("trace-steps"), shown.map((hop) => ({ ...hop, longest })), idOf, () => {
    const name = el("b"), words = el("span"), bar = el("i", { "aria-hidden": "true" });
    const row = el("li", {}, name, words, el("div", { class: "way" }, bar));
    row.show = (hop) => {
      setText(name, nameOf(hop));
      setText(words, wordsOf(hop));
      row.dataset.state = isBad(hop) ? "bad" : "";
      row.style.setProperty("--depth", Math.min(hop.depth, 6));
      bar.hidden = hop.delay_ms === null || hop.kind === "publisher";
      bar.style.left = `${100 * Math.max(0, (hop.total_ms || 0) - (hop.delay_ms || 0)) / hop.longest}%`;
      bar.style.width = `${100 * ((hop.delay_ms || 0) + hop.held_ms) / hop.longest}%`;
    };
    return row;
  });
  setText($("trace-words"), rows.length > MOST_SHOWN ? `The first ${MOST_SHOWN} of ${count(rows.length)} stations.`
    : rows.some((hop) => hop.kind === "players") ? "" : "Nobody plays it at present.");
}

const idOf = (hop) => [hop.from_hop, hop.kind, hop.name, hop.id, hop.worker].join(" ");
const isBad = (hop) => hop.lost > 0 || hop.players_behind > 0 || (hop.delay_ms || 0) > SLOW_MS;

function nameOf(hop) {
  if (hop.kind === "players") return many(hop.players, "player");
  return `${KINDS[hop.kind] || hop.kind} ${hop.name}${["origin", "worker"].includes(hop.kind) ? `, worker ${hop.worker}` : ""}`;
}

function wordsOf(hop) {
  return [
    hop.kind !== "publisher" && (hop.delay_ms === null ? "its delay is in that of the next" : `${delayWords(hop.delay_ms)} from the station before`),
    hop.held_ms > 0.05 && `stays ${delayWords(hop.held_ms)}`,
    hop.total_ms !== null && hop.kind !== "publisher" && `${delayWords(hop.total_ms)} from the publisher`,
    hop.bits_per_second !== null && bits(hop.bits_per_second),
    hop.lost > 0 && `${many(hop.lost, "message")} lost`,
    hop.players_behind > 0 && `${many(hop.players_behind, "player")} behind, by ${delay(hop.behind_ms)} at most`,
  ].filter(Boolean).join(", ");
}

const delayWords = (ms) => ms < 10 ? `${ms.toFixed(1)} ms` : delay(ms);

/** Without a trace: where the stream comes in, and each node that it goes to. */
export function showRoutes(stream, { items, next }) {
  const steps = [
    { id: "publisher", name: `Publisher ${stream.peer}`, words: `${bits(stream.bits_per_second)} to ${stream.node}, worker ${stream.worker}` },
    ...items.map((route) => ({ id: `${route.to_node}/${route.to_id}`, ...routeWords(route) })),
  ];
  keep($("trace-steps"), steps, (step) => step.id, () => {
    const name = el("b"), words = el("span");
    return Object.assign(el("li", {}, name, words), { show: (step) => { setText(name, step.name); setText(words, step.words); } });
  });
  setText($("trace-words"), items.length ? next ? "There are more nodes than are shown." : "" : "No node plays it at present.");
}

function routeWords(route) {
  const isHere = route.from_id === route.to_id;
  const way = isHere ? "where it is published" : `from ${route.from_node}${route.router ? ` by router ${route.router}` : ""}`
    + `${route.repeater ? ", through its repeater" : ""}`;
  return { name: `Node ${route.to_node}`, words: `${way}: ${many(route.players, "player")}` };
}
