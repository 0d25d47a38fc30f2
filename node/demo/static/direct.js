/**
 * Direct messages: from one session to another, by address. Sent by way of /service/send,
 * received on /service/inbox; no other session sees them.
 */

import { Composer } from "./composer.js";
import { Feed, keep, readMessage } from "./messages.js";

const byId = (id) => document.getElementById(id);

export class Direct {
  /**
   * @param {Bayeux} client
   * @param me () => {name, from, node, host}
   * @param on {arrival(message)}
   */
  constructor(client, me, on) {
    this.client = client;
    this.me = me;
    this.on = on;
    this.messages = [];
    this.to = byId("direct-to");
    const empty = document.createElement("p");
    empty.className = "empty";
    empty.textContent =
      "Paste an address below, or click a name in a room. " +
      "Your words reach that one session, on whichever node it is.";
    this.feed = new Feed(byId("direct-feed"), empty, (message) => this.writeTo(message.from));
    this.composer = new Composer("direct", (text) => this.#send(text));
    client.listen("/service/inbox", (message) => this.#receive(message));
  }

  /** Fill in whom to write to. */
  writeTo(address) {
    this.to.value = address;
    this.composer.focus();
  }

  saved() {
    return { messages: this.messages, to: this.to.value };
  }

  restore({ messages, to }) {
    this.messages = messages;
    this.to.value = to;
    this.feed.show(messages);
  }

  async #send(text) {
    const to = this.to.value.trim();
    const data = { ...this.me(), text };
    await this.client.publish("/service/send", { to, data });
    this.#show({ ...readMessage(data), to, mine: true });
  }

  #receive({ data, ext }) {
    const message = readMessage(data);
    message.from = ext?.from ?? message.from; // the server's word, where it gives it
    this.#show(message);
    if (!this.to.value) this.to.value = message.from; // ready to answer
    this.on.arrival(message);
  }

  #show(message) {
    keep(this.messages, message);
    this.feed.add(message);
  }
}
