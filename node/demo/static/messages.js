/**
 * Chat messages: reading what came from outside, and showing it as text and nothing but text.
 */

const KEPT = 300; // messages kept in one feed
const TOGETHER = 5 * 60_000; // ms within which messages of one sender share a heading

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** A string from outside, cut to `limit` characters; "" for anything that is not one. */
const text = (value, limit) => (typeof value === "string" ? value.slice(0, limit) : "");

/**
 * What anybody may have published, as {name, text, from, node, host, at}.
 * The demo's own shape is understood; any other JSON is shown as it is.
 */
export function readMessage(data) {
  const fields = data !== null && typeof data === "object" && !Array.isArray(data) ? data : {};
  const shown = typeof data === "string" ? data : fields.text;
  return {
    name: text(fields.name, 40).trim() || "Application",
    text: text(shown, 4000) || JSON.stringify(data, null, 1).slice(0, 4000),
    from: text(fields.from, 80),
    node: text(fields.node, 40),
    host: text(fields.host, 80),
    at: Date.now(),
  };
}

/** Add to `list` and forget the oldest. */
export function keep(list, message) {
  list.push(message);
  if (list.length > KEPT) list.splice(0, list.length - KEPT);
}

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** A stable hue for an address, so that people can be told apart. */
function hueOf(name) {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) | 0;
  return Math.abs(hash * 137.508) % 360; // steps of the golden angle lie far apart
}

function avatar(message) {
  const disc = element("span", "avatar", [...message.name][0].toUpperCase());
  disc.style.setProperty("--hue", hueOf(message.from || message.name));
  disc.setAttribute("aria-hidden", "true");
  return disc;
}

/** A list of messages that stays at its end unless the reader has scrolled away. */
export class Feed {
  /**
   * @param {HTMLElement} box  @param {HTMLElement} empty is shown while there is no message
   * @param {(message) => void} onSender called when a sender's name is clicked
   */
  constructor(box, empty, onSender) {
    this.box = box;
    this.empty = empty;
    this.onSender = onSender;
    this.show([]);
  }

  /** Show these messages in place of all others. */
  show(messages) {
    this.last = null;
    this.box.replaceChildren();
    if (messages.length === 0) this.box.append(this.empty);
    for (const message of messages) this.#append(message);
    this.box.scrollTop = this.box.scrollHeight;
  }

  /** Add one at the end. */
  add(message) {
    const { scrollHeight, scrollTop, clientHeight } = this.box;
    const following = scrollHeight - scrollTop - clientHeight < 80;
    this.empty.remove();
    const item = this.#append(message);
    item.classList.add("fresh");
    while (this.box.childElementCount > KEPT) this.box.firstElementChild.remove();
    if (following || message.mine) this.box.scrollTop = this.box.scrollHeight;
  }

  #append(message) {
    const { last } = this;
    const joined =
      last?.from === message.from &&
      last.name === message.name &&
      last.to === message.to &&
      message.at - last.at < TOGETHER;
    this.last = message;
    const body = element("p", "text", message.text);
    const item = element("article", joined ? "message joined" : "message");
    if (message.mine) item.classList.add("mine");
    if (!joined) item.append(avatar(message), this.#heading(message));
    item.append(body);
    this.box.append(item);
    return item;
  }

  #heading(message) {
    const heading = element("header", "");
    if (message.from && !message.mine) {
      const name = element("button", "sender", message.name);
      name.type = "button";
      name.title = `Write to ${message.from}`;
      name.addEventListener("click", () => this.onSender(message));
      heading.append(name);
    } else {
      heading.append(element("b", "sender", message.name));
    }
    if (message.mine && !message.to) heading.append(element("span", "tag", "you"));
    if (message.host && !message.to) {
      const place = element("span", "hint", `on ${message.host}`);
      if (message.node) place.title = `Node ${message.node}`;
      heading.append(place);
    }
    const time = element("time", "hint", clock.format(message.at));
    time.dateTime = new Date(message.at).toISOString();
    heading.append(time);
    if (message.to) heading.append(element("span", "hint recipient", "to ", element("span", "mono", message.to)));
    return heading;
  }
}
