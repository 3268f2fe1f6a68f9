/* The way of a stream through the cluster. */

import { $, el, keep, setText } from "./dom.js";
import { bits, many } from "./words.js";

/** Where the stream comes in, and each node that it goes to. */
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
