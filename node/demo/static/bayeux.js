/**
 * A small Bayeux 1.0 client: WebSocket first, long-polling where that fails.
 *
 *   const client = new Bayeux("/bayeux");
 *   client.addEventListener("state", ({ detail }) => console.log(detail.state));
 *   client.subscribe("/chat/lobby", (message) => console.log(message.data));
 *   client.start();
 *   await client.publish("/chat/lobby", { text: "hello" });
 *
 * One loop keeps the session alive: handshake, connect, pause as the server
 * advises, connect again. Whatever breaks rejects a promise that the loop awaits,
 * and the loop alone decides: try the next transport, pause and try again (with
 * growing, jittered pauses), shake hands anew, or stop.
 *
 * Events, each with a `detail`:
 *   "state"      {state, transport, retryIn, reason}; states: connecting, connected, waiting, stopped
 *   "handshake"  the server's reply: a new session begins
 *   "refused"    BayeuxError: a subscription was not taken up when the session began
 */

import { BayeuxError, LongPollingTransport, WebSocketTransport } from "./transports.js";

export { BayeuxError };

const TRANSPORTS = [WebSocketTransport, LongPollingTransport]; // in order of preference
const NETWORK_DELAY = 10_000; // ms that an answer may take beyond what the server holds it
const FIRST_BACKOFF = 500; // ms
const LAST_BACKOFF = 15_000; // ms
const REMEMBERED = 1000; // ids of messages delivered, to drop what comes twice
const CHANGING = BayeuxError.lost("changing the transport");

/** The names that a listener of messages on `channel` may have used: itself and its globs. */
function namesMatching(channel) {
  const parts = channel.split("/").slice(1);
  const globs = parts.map((_, depth) => ["", ...parts.slice(0, depth), "**"].join("/"));
  return [channel, ["", ...parts.slice(0, -1), "*"].join("/"), ...globs];
}

export class Bayeux extends EventTarget {
  #url;
  #clientId = null; // the session's secret: it never leaves this object but in `snapshot`
  #ack; // the last acknowledgement number, where the server keeps such
  #advice = { interval: 0, timeout: 30_000 }; // ms
  #allowed = TRANSPORTS;
  #transport = null;
  #next = 0; // which of the allowed transports to open
  #failures = 0; // rounds over all transports that failed, in a row
  #proven = false; // has a connect been answered on this transport?
  #lastId = 0;
  #pending = new Map(); // message id -> {resolve, reject, timer}
  #outgoing = [];
  #batches = 0;
  #seen = new Set(); // ids of the last messages delivered
  #channels = new Map(); // channel -> {listeners: Set, subscribed: boolean}
  #running = false;
  #endPause = () => {};

  /** @param {string} url of the Bayeux endpoint  @param resume what `snapshot` gave, or null */
  constructor(url, resume = null) {
    super();
    this.#url = new URL(url, globalThis.location?.href).href;
    if (resume) ({ clientId: this.#clientId, ack: this.#ack, advice: this.#advice } = resume);
  }

  /** Begin, and keep the session alive until `stop`. Never throws: see the "state" event. */
  start() {
    if (this.#running) return;
    this.#running = true;
    this.#run();
  }

  /** End the session, and tell the server. */
  async stop() {
    this.#running = false;
    if (this.#clientId) await this.#request({ channel: "/meta/disconnect" }).catch(() => {});
    this.#clientId = null;
    this.#drop(BayeuxError.lost("disconnected"));
    this.#endPause();
    this.#say("stopped");
  }

  /** Use only transports of these types ("websocket", "long-polling"). The session goes on. */
  use(...types) {
    this.#allowed = TRANSPORTS.filter(({ type }) => types.includes(type));
    this.#next = 0;
    if (this.#transport && this.#transport.constructor !== this.#allowed[0]) this.#drop(CHANGING);
    this.#endPause();
  }

  /** Do not wait out a pause: the network is back, or the user cannot wait. */
  retryNow() {
    this.#endPause();
  }

  /** The connection is thought to be dead, though nothing has failed yet: open another. */
  doubt(why) {
    if (this.#transport) this.#drop(BayeuxError.lost(why));
  }

  /** What a reloaded page needs to go on with this session, or null. It holds the secret. */
  snapshot() {
    if (!this.#clientId) return null;
    return { clientId: this.#clientId, ack: this.#ack, advice: this.#advice };
  }

  /** Call `listener(message)` for what comes on `channel` without being subscribed to. */
  listen(channel, listener) {
    const entry = this.#channels.get(channel) ?? { listeners: new Set(), subscribed: false };
    entry.listeners.add(listener);
    this.#channels.set(channel, entry);
    return entry;
  }

  /**
   * Listen, and subscribe now or when the session begins; renewed with every new session.
   * A resumed session has its subscriptions: call this before `start`.
   * Rejects with BayeuxError where the server refuses or cannot be asked.
   */
  async subscribe(channel, listener) {
    const entry = this.listen(channel, listener);
    const asked = entry.subscribed || !this.#running || !this.#clientId;
    entry.subscribed = true;
    if (asked) return;
    try {
      await this.#request({ channel: "/meta/subscribe", subscription: channel });
    } catch (error) {
      if (error.code === 402) return; // the new session will ask again
      this.#channels.delete(channel);
      throw error;
    }
  }

  /** Forget the listeners of `channel`, and unsubscribe. Rejects as `subscribe` does. */
  async unsubscribe(channel) {
    const entry = this.#channels.get(channel);
    this.#channels.delete(channel);
    if (!entry?.subscribed || !this.#clientId) return;
    await this.#request({ channel: "/meta/unsubscribe", subscription: channel });
  }

  /** Resolves with the server's reply; rejects with BayeuxError. Is not repeated by itself. */
  publish(channel, data) {
    if (!this.#clientId) return Promise.reject(BayeuxError.lost("not connected"));
    return this.#request({ channel, data });
  }

  /** What `work()` sends goes out together, as one frame or request. */
  batch(work) {
    this.#batches += 1;
    try {
      work();
    } finally {
      this.#batches -= 1;
      this.#flush();
    }
  }

  async #run() {
    while (this.#running) {
      try {
        if (!this.#transport) await this.#open();
        if (!this.#clientId) await this.#handshake();
        await this.#connect();
        if (this.#advice.interval) await this.#pause(this.#advice.interval);
      } catch (error) {
        if (this.#running) await this.#recover(error);
      }
    }
  }

  async #open() {
    this.#say("connecting");
    this.#proven = false;
    const Transport = this.#allowed[this.#next];
    const transport = new Transport(
      this.#url,
      (messages) => this.#receive(messages),
      (gone, error) => gone === this.#transport && this.#drop(error),
    );
    this.#transport = transport;
    const failure = await transport.open().then(() => null, (error) => error);
    if (this.#transport !== transport) throw CHANGING;
    if (failure) throw failure;
  }

  async #handshake() {
    const reply = await this.#request({
      channel: "/meta/handshake",
      version: "1.0",
      minimumVersion: "1.0",
      supportedConnectionTypes: this.#allowed.map(({ type }) => type),
      ext: { ack: true },
    });
    this.#clientId = reply.clientId;
    this.#ack = reply.ext?.ack ? -1 : undefined;
    this.dispatchEvent(new CustomEvent("handshake", { detail: reply }));
    this.batch(() => {
      for (const [channel, { subscribed }] of this.#channels) {
        if (!subscribed) continue;
        this.#request({ channel: "/meta/subscribe", subscription: channel }).catch((error) => {
          if (error.code && error.code !== 402) {
            this.#channels.delete(channel);
            this.dispatchEvent(new CustomEvent("refused", { detail: error }));
          }
        });
      }
    });
  }

  async #connect() {
    const message = { channel: "/meta/connect", connectionType: this.#transport.constructor.type };
    if (!this.#proven) message.advice = { timeout: 0 }; // answered at once: the session lives
    if (this.#ack !== undefined) message.ext = { ack: this.#ack };
    const reply = await this.#request(message, this.#proven ? this.#advice.timeout : 0);
    this.#ack = reply.ext?.ack ?? this.#ack;
    if (this.#proven) return;
    this.#proven = true;
    this.#failures = 0;
    this.#say("connected");
  }

  /** Decide what a failure means for the loop. */
  async #recover(error) {
    if (error === CHANGING) return;
    const advised = error.reply?.advice?.reconnect;
    if (advised === "handshake" || error.code === 402) this.#clientId = null;
    if (advised === "none") {
      this.#running = false;
      this.#clientId = null;
      this.#drop(error);
      this.#say("stopped", { reason: error.message });
      return;
    }
    const worked = this.#proven;
    this.#proven = false;
    if (this.#clientId || !error.reply) {
      this.#drop(error);
      this.#next = worked ? 0 : (this.#next + 1) % this.#allowed.length;
      if (this.#next > 0) return; // another transport may do: at once
    } else if (this.#failures === 0) {
      this.#failures += 1;
      return; // the session is over, the transport is well: a new session at once
    }
    const ceiling = Math.min(LAST_BACKOFF, FIRST_BACKOFF * 2 ** this.#failures);
    const wait = (this.#advice.interval ?? 0) + ceiling * (0.5 + Math.random() / 2);
    this.#failures += 1;
    this.#say("waiting", { retryIn: wait, reason: error.message });
    await this.#pause(wait);
  }

  /** The transport is of no use any more; whoever waits for an answer is told. */
  #drop(error) {
    const transport = this.#transport;
    this.#transport = null;
    transport?.close();
    for (const id of [...this.#pending.keys()]) this.#settle(id, error);
  }

  #request(message, held = 0) {
    this.#lastId += 1;
    const id = String(this.#lastId);
    return new Promise((resolve, reject) => {
      const late = () => this.#settle(id, BayeuxError.lost("the server does not answer"));
      const timer = setTimeout(late, held + NETWORK_DELAY);
      this.#pending.set(id, { resolve, reject, timer });
      this.#outgoing.push({ ...message, id });
      if (this.#batches === 0) this.#flush();
    });
  }

  async #flush() {
    const messages = this.#outgoing.splice(0);
    if (messages.length === 0) return;
    if (this.#clientId) for (const message of messages) message.clientId = this.#clientId;
    try {
      if (!this.#transport) throw BayeuxError.lost("not connected");
      await this.#transport.send(messages);
    } catch (error) {
      for (const { id } of messages) this.#settle(id, error);
    }
  }

  #settle(id, outcome) {
    const waiter = this.#pending.get(id);
    if (!waiter) return;
    this.#pending.delete(id);
    clearTimeout(waiter.timer);
    if (outcome instanceof BayeuxError) waiter.reject(outcome);
    else waiter.resolve(outcome);
  }

  #receive(messages) {
    for (const message of messages) {
      if (message.advice) this.#advice = { ...this.#advice, ...message.advice };
      if (message.successful === undefined) {
        this.#deliver(message);
      } else if (message.successful) {
        this.#settle(message.id, message);
      } else {
        const error = new BayeuxError(message.error ?? "0::refused", message);
        this.#settle(message.id, error);
        if (error.code === 402 && message.channel !== "/meta/connect") this.#drop(error);
      }
    }
  }

  #deliver(message) {
    if (this.#isRepeated(message)) return;
    for (const name of namesMatching(message.channel)) {
      for (const listener of this.#channels.get(name)?.listeners ?? []) {
        try {
          listener(message);
        } catch (error) {
          reportError(error); // a listener's fault is not the connection's
        }
      }
    }
  }

  /** After a failure the server may deliver the last moments again, under the same ids. */
  #isRepeated({ channel, id }) {
    if (id === undefined) return false;
    const name = `${channel} ${id}`;
    if (this.#seen.has(name)) return true;
    this.#seen.add(name);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value);
    return false;
  }

  #say(state, detail = {}) {
    const transport = this.#transport?.constructor.type ?? null;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, transport, ...detail } }));
  }

  #pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
