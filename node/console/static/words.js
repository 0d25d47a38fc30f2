/** How numbers and names are written, and how elements are made and changed. */

export const SHORT = 8; // hex digits of an id, as in the logs

export const short = (id) => id.slice(0, SHORT);

/** 940, 12.4k, 3.1M */
export function count(number) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    const unit = size === 1e4 ? 1e3 : size;
    if (number >= size) return `${digits(number / unit)}${letter}`;
  }
  return Number.isInteger(number) ? String(number) : digits(number);
}

/** Three digits, and no zero behind the point. */
const digits = (number) => number.toFixed(number >= 100 ? 0 : 1).replace(/\.0$/, "");

export const rate = (number) => `${count(number)}/s`;

export function bytes(number) {
  for (const [size, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (number >= size) return `${digits(number / size)} ${unit}`;
  }
  return `${number} B`;
}

export function seconds(number) {
  return number < 1 ? `${digits(number * 1000)} ms` : `${digits(number)} s`;
}

export const percent = (part) => `${(part * 100).toFixed(part < 0.1 ? 1 : 0)}%`;

export const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

/** An element with attributes and children; text is text, never markup. */
export function made(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Set the text, unless it is that already. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute, unless it is that already. */
export function set(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Make the children of `parent` those of `items`: elements are kept by key, moved where they
 * must be, and removed with their item.
 */
export function keyed(parent, items, keyOf, make, update) {
  const known = new Map();
  for (const child of parent.children) known.set(child.dataset.key, child);
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let child = known.get(key);
    if (child === undefined) {
      child = make(item);
      child.dataset.key = key;
    }
    known.delete(key);
    update(child, item);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  for (const child of known.values()) child.remove();
}
