/* Elements, made and kept up to date. */

export const $ = (id) => document.getElementById(id);

/** An element: el("p", { class: "note" }, "words"). A function is a listener, null and false leave out. */
export function el(tag, given = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...inside.filter((each) => each !== null));
  return made;
}

/** Changes the text only if it is another: what is read aloud, or marked, stays. */
export function setText(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

/** One child for each item, in their order. A child stays the same element as long as its key is there, so that
    focus stays, and a picture goes on. `make(item)` gives an element with a method `show(item)`. */
export function keep(parent, items, keyOf, make) {
  const focused = document.activeElement;
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let last = null;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = before.get(key);
    before.delete(key);
    if (!child) {
      child = make(item);
      child.dataset.key = key;
    }
    const place = last ? last.nextElementSibling : parent.firstElementChild;
    if (place !== child) parent.insertBefore(child, place);
    child.show(item);
    last = child;
  }
  for (const child of before.values()) {
    child.gone?.();
    child.remove();
  }
  // What is moved loses it.
  if (parent.contains(focused) && focused !== document.activeElement) focused.focus({ preventScroll: true });
}

/** Terms and what they are: [["Node", "near"], …]. */
export function keepFacts(list, facts) {
  keep(list, facts, ([name]) => name, ([name]) => {
    const value = el("dd");
    return Object.assign(el("div", {}, el("dt", {}, name), value), { show: ([, text]) => setText(value, text) });
  });
}
