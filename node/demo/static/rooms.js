/**
 * The rooms: each is the channel /chat/NAME, to which the page is subscribed while it is joined.
 */

import { Composer, complain, explain } from "./composer.js";
import { Feed, keep, readMessage } from "./messages.js";

const channelOf = (room) => `/chat/${room}`;
const byId = (id) => document.getElementById(id);

function emptyFeed() {
  const note = document.createElement("p");
  note.className = "empty";
  return note;
}

export class Rooms {
  /**
   * @param {Bayeux} client
   * @param me () => {name, from, node, host}, what one says of oneself
   * @param on {sender(message), arrival(message)}
   */
  constructor(client, me, on) {
    this.client = client;
    this.me = me;
    this.on = on;
    this.rooms = new Map(); // name -> {messages, unread}
    this.current = null;
    this.error = byId("room-error");
    this.empty = emptyFeed();
    this.feed = new Feed(byId("room-feed"), this.empty, on.sender);
    this.composer = new Composer("room", (text) => this.#say(text));
    byId("join").addEventListener("submit", (event) => {
      event.preventDefault();
      const box = byId("join-name");
      this.join(box.value.trim());
      box.value = "";
    });
    byId("leave").addEventListener("click", () => this.leave(this.current));
    client.addEventListener("refused", ({ detail }) => this.#refused(detail));
  }

  /** Join and show a room; `messages` are those of before a reload. */
  async join(room, messages = []) {
    if (this.rooms.has(room)) {
      this.open(room);
      return;
    }
    this.rooms.set(room, { messages, unread: 0 });
    this.open(room);
    try {
      await this.client.subscribe(channelOf(room), (message) => this.#receive(room, message));
    } catch (error) {
      this.#forget(room);
      complain(this.error, `Could not join ${room}. ${explain(error)}`);
    }
  }

  async leave(room) {
    this.#forget(room);
    try {
      await this.client.unsubscribe(channelOf(room));
    } catch (error) {
      complain(this.error, `Could not leave ${room}. ${explain(error)}`);
    }
  }

  /** Show this room, or none. */
  open(room) {
    this.current = room;
    if (room) this.rooms.get(room).unread = 0;
    byId("room-title").textContent = room ?? "No room";
    byId("room-channel").textContent = room ? channelOf(room) : "";
    byId("leave").hidden = !room;
    this.composer.form.inert = !room;
    this.composer.box.placeholder = room ? `Message everybody in ${room}` : "";
    this.empty.textContent = room
      ? `Nothing said in ${room} yet. Everybody who is in it, on whichever node, sees what you write.`
      : "You are in no room. Join one above.";
    complain(this.error);
    this.feed.show(room ? this.rooms.get(room).messages : []);
    this.#drawChips();
  }

  /** What `restore` needs after a reload. */
  saved() {
    const rooms = [...this.rooms].map(([room, { messages }]) => [room, messages]);
    return { rooms, current: this.current };
  }

  restore({ rooms, current }) {
    for (const [room, messages] of rooms) this.join(room, messages);
    this.open(this.rooms.has(current) ? current : null);
  }

  #say(text) {
    return this.client.publish(channelOf(this.current), { ...this.me(), text });
  }

  #receive(room, { data }) {
    const entry = this.rooms.get(room);
    const message = readMessage(data);
    message.mine = Boolean(message.from) && message.from === this.me().from;
    keep(entry.messages, message);
    if (room === this.current) this.feed.add(message);
    else entry.unread += 1;
    this.#drawChips();
    this.on.arrival(message);
  }

  #refused(error) {
    const room = (error.reply?.subscription ?? "").replace(/^\/chat\//, "");
    if (!this.rooms.has(room)) return;
    this.#forget(room);
    complain(this.error, `You are no longer in ${room}. ${explain(error)}`);
  }

  #forget(room) {
    this.rooms.delete(room);
    if (this.current === room) this.open([...this.rooms.keys()].at(-1) ?? null);
    else this.#drawChips();
  }

  #drawChips() {
    const chips = [...this.rooms].map(([room, { unread }]) => {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.textContent = room;
      chip.setAttribute("aria-pressed", String(room === this.current));
      if (unread) {
        const badge = document.createElement("span");
        badge.className = "badge";
        badge.textContent = unread;
        badge.title = `${unread} unread`;
        chip.append(badge);
      }
      chip.addEventListener("click", () => {
        this.open(room);
        byId("room-list").querySelector("[aria-pressed=true]").focus();
      });
      const item = document.createElement("li");
      item.append(chip);
      return item;
    });
    byId("room-list").replaceChildren(...chips);
    const pressed = byId("room-list").querySelector("[aria-pressed=true]");
    pressed?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}
