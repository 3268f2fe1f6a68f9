/* What changes the cluster is asked about first, in a dialog that says what will happen. */

import { ask } from "./api.js";
import { $, el } from "./dom.js";

let onDone = null, pending = null;

/** Says what has come of something, where it is seen: in the dialog that is open, or on the page. */
export function say(words) {
  const open = $("stream").open;
  $("stream-said").textContent = open ? words : "";
  $("said").textContent = open ? "" : words;
}

/**
 * order: { title, text, action, choice: { name, options: [[value, words], …], first }, hasWhy,
 *          request(choice, why) -> [path, options of ask] }. `after()` is called once it is done.
 */
export function askFirst(order, after) {
  pending = order;
  onDone = after;
  $("order-title").textContent = order.title;
  $("order-text").textContent = order.text;
  $("order-do").textContent = order.action;
  $("order-do").disabled = false;
  $("order-problem").textContent = "";
  $("order-choice-label").hidden = !order.choice;
  if (order.choice) {
    $("order-choice-name").textContent = order.choice.name;
    $("order-choice").replaceChildren(...order.choice.options.map(([value, words]) => el("option", { value }, words)));
    $("order-choice").value = order.choice.first;
  }
  $("order-why-label").hidden = !order.hasWhy;
  $("order-why").value = "";
  $("order").showModal();
  $("order-cancel").focus();
}

async function carryOut() {
  const order = pending;
  $("order-do").disabled = true;
  $("order-problem").textContent = "";
  try {
    const [path, options] = order.request($("order-choice").value, $("order-why").value.trim());
    const done = await ask(path, options);
    if (pending !== order) return;
    $("order").close();
    say(sentence(done.detail || "Done"));
    onDone?.();
  } catch (error) {
    if (pending === order) $("order-problem").textContent = sentence(`Not done: ${error.message}`);
  } finally {
    $("order-do").disabled = false;
  }
}

const sentence = (text) => text[0].toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");

export function setUpOrders() {
  $("order-form").onsubmit = (event) => {
    event.preventDefault();
    carryOut();
  };
  $("order-cancel").onclick = () => $("order").close();
  // It is told later: the dialog may be open again, for another order.
  $("order").onclose = () => { if (!$("order").open) pending = null; };
}
