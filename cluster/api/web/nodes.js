/* Nodes, routers and events, and in words who has not answered. */

import { path } from "./api.js";
import { $, el, keep, setText } from "./dom.js";
import { askFirst } from "./order.js";
import { bits, bytes, clock, count, delay, duration, list, many } from "./words.js";

const STATES = { ok: "in service", draining: "draining", silent: "has not answered", lost: "lost" };
const FIRST_NODES = 6;
/** Nodes that have not answered, by their names at the top of the page. */
const MOST_NAMED = 4;
const MOST_EVENTS = 200;

/** What is missing in an answer, in sentences. */
export function missingWords({ complete, missing, missing_routers: routers }) {
  const byNode = new Map();
  for (const each of missing) byNode.set(each.id, [...(byNode.get(each.id) || []), each]);
  const said = [...byNode.values()].map((workers) => {
    const who = workers.map((each) => each.worker), [{ node, why }] = workers;
    return `Node ${node} has not answered (${who.length === 1 ? "worker" : "workers"} ${list(who)}: ${why}). What it has is missing here.`;
  });
  if (said.length > MOST_NAMED) said.splice(MOST_NAMED, said.length, `${said.length - MOST_NAMED} more nodes have not answered.`);
  const isNobody = !complete && !byNode.size;
  for (const { router, why } of routers) said.push(`Router ${router} has not answered: ${why}.${isNobody ? "" : " The others know what it knows."}`);
  if (isNobody) said.push("No router has answered: nothing is known of other nodes.");
  return said;
}

export class Nodes {
  #nodes = []; #missing = []; #showsAll = false; #changed;

  /** `changed()`: something was ordered, and is to be seen. */
  constructor(changed) {
    this.#changed = changed;
    $("all-nodes").onclick = () => {
      this.#showsAll = !this.#showsAll;
      this.#draw();
    };
  }

  show(answer) {
    const rank = (node) => ["lost", "silent", "draining"].indexOf(node.state) + 1 || 9;
    this.#nodes = [...answer.items].sort((a, b) => rank(a) - rank(b) || (a.node < b.node ? -1 : 1));
    this.#missing = answer.missing;
    this.#draw();
  }

  #draw() {
    const shown = this.#showsAll ? this.#nodes : this.#nodes.slice(0, FIRST_NODES);
    keep($("nodes"), shown, (node) => node.id, (node) => this.#item(node));
    $("all-nodes").hidden = this.#nodes.length <= FIRST_NODES;
    setText($("all-nodes"), this.#showsAll ? "Show fewer" : `Show all ${count(this.#nodes.length)}`);
  }

  #item(node) {
    const badge = el("span", { class: "badge" }), facts = el("p"), rates = el("p"), trouble = el("p", { class: "trouble" });
    const button = el("button", { type: "button", click: () => this.#order(item.node) });
    const workers = el("ul"), summary = el("summary");
    const item = el("li", {}, el("h3", {}, `${node.node} `, badge), button,
      el("div", { class: "all" }, facts, rates, trouble, el("details", {}, summary, workers)));
    item.show = (now) => {
      item.node = now;
      badge.dataset.state = now.state;
      setText(badge, STATES[now.state]);
      setText(facts, `${many(now.players, "player")}, ${many(now.publishers, "publisher")}, ${many(now.connections, "connection")}`);
      setText(rates, `in ${bits(now.received_bits_per_s)}, out ${bits(now.sent_bits_per_s)}`
        + (now.version ? `, up ${duration(now.age_ms)}, version ${now.version}` : ""));
      setText(trouble, this.#troubles(now));
      setText(summary, many(now.workers.length, "worker"));
      keep(workers, now.workers, (worker) => worker.worker, () => {
        const line = el("li");
        return Object.assign(line, { show: (worker) => setText(line, workerWords(worker)) });
      });
      button.hidden = now.state === "lost";
      setText(button, now.state === "draining" ? "Undrain …" : "Drain …");
      button.setAttribute("aria-label", `${now.state === "draining" ? "Undrain" : "Drain"} node ${now.node} …`);
    };
    return item;
  }

  #troubles(node) {
    const silent = this.#missing.filter((each) => each.id === node.id);
    const said = silent.map((each) => `Worker ${each.worker} has not answered: ${each.why}.`);
    for (const [router, why] of Object.entries(node.routers)) if (why) said.push(`Its link to ${router}: ${why}.`);
    return said.join(" ");
  }

  #order(node) {
    const isBack = node.state === "draining";
    askFirst(isBack ? {
      title: `Undrain node ${node.node}?`, action: "Undrain",
      text: "It accepts connections and publishers again. It brings back nobody who has gone.",
      request: () => [path`/v1/nodes/${node.id}/undrain`, { method: "POST" }],
    } : {
      title: `Drain node ${node.node}?`, action: "Drain",
      text: `It accepts nobody any more, and its ${many(node.connections, "connection")} ${node.connections === 1 ? "is" : "are"} asked to go `
        + "elsewhere. Those that are left at the deadline are closed. It can be undrained at any time.",
      choice: { name: "Deadline", options: [[0, "at once"], [60, "1 minute"], [600, "10 minutes"], [3600, "1 hour"], [86400, "1 day"]], first: 600 },
      request: (deadline) => [path`/v1/nodes/${node.id}/drain`, { method: "POST", body: { deadline_s: Number(deadline) } }],
    }, this.#changed);
  }
}

function workerWords(worker) {
  const state = `Worker ${worker.worker} ${STATES[worker.state]}`;
  if (worker.state === "lost" || worker.state === "silent") return `${state} for ${duration(worker.silent_ms)}`;
  return `${state}: ${many(worker.players, "player")}, ${many(worker.streams, "stream")}, out ${bits(worker.sent_bits_per_s)}, `
    + `${bytes(worker.memory_bytes)} of memory`;
}

export function showRouters({ items }) {
  $("no-routers").hidden = items.length > 0;
  keep($("routers"), items, (router) => router.router, ({ router }) => {
    const badge = el("span", { class: "badge" }), facts = el("p"), trouble = el("p", { class: "trouble" });
    const item = el("li", {}, el("div", {}, el("h3", {}, `${router} `, badge), facts), trouble);
    item.show = (now) => {
      badge.dataset.state = now.answers ? "ok" : "silent";
      setText(badge, now.answers ? "answers" : "has not answered");
      setText(facts, now.answers ? `${now.after_ms ? `after ${delay(now.after_ms)}, ` : ""}linked to ${now.nodes_linked} of ${many(now.nodes, "node")}, `
        + `${many(now.workers, "worker")}, ${many(now.streams, "stream")}` : "");
      setText(trouble, now.answers ? "" : `It has not answered${now.why ? `: ${now.why}` : ""}.`);
    };
    return item;
  });
}

export class Events {
  #items = []; #last = 0;
  get last() { return this.#last; }

  add({ items, last }) {
    if (last < this.#last) this.#items = [];  // another process answers now, or it was started anew
    this.#last = last;
    this.#items = [...items.toReversed(), ...this.#items].slice(0, MOST_EVENTS);
    $("no-events").hidden = this.#items.length > 0;
    $("events").hidden = !this.#items.length;
    keep($("events"), this.#items, (event) => event.number, (event) => Object.assign(
      el("li", {}, el("time", { datetime: event.at, title: event.at }, clock(new Date(event.at))), event.text), { show() {} }));
  }
}
