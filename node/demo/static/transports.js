/**
 * How Bayeux messages travel: frames of one WebSocket, or bodies of HTTP requests.
 *
 * A transport has a `type` (its name in the protocol), `open()`, `send(messages)`
 * and `close()`. What arrives goes to `onMessages(array)`. `send` rejects when the
 * messages certainly or possibly did not get through; a transport that dies
 * between sends says so with `onLost(transport, error)`.
 */

const OPEN_LIMIT = 5_000; // ms until a WebSocket that neither opens nor fails is given up

/** The server said no (`code` as in the protocol), or could not be asked (`code` 0). */
export class BayeuxError extends Error {
  /** @param {string} error `code:args:message`  @param {object|null} reply that carried it */
  constructor(error, reply = null) {
    const [code, , ...words] = error.split(":");
    super(words.join(":") || error);
    this.name = "BayeuxError";
    this.code = Number(code) || 0;
    this.reply = reply;
  }

  static lost(why) {
    return new BayeuxError(`0::${why}`);
  }
}

/** One message or an array of them, as both may stand in a frame or a body. */
const parse = (text) => [JSON.parse(text)].flat();

export class WebSocketTransport {
  static type = "websocket";

  constructor(url, onMessages, onLost) {
    this.url = url.replace(/^http/, "ws");
    this.onMessages = onMessages;
    this.onLost = onLost;
  }

  open() {
    return new Promise((resolve, reject) => {
      this.giveUp = () => reject(BayeuxError.lost("a WebSocket could not be opened"));
      const timer = setTimeout(() => this.close(), OPEN_LIMIT);
      const socket = (this.socket = new WebSocket(this.url));
      socket.onopen = () => {
        clearTimeout(timer);
        socket.onclose = ({ code, reason }) => this.#lose(reason || `connection closed (${code})`);
        resolve();
      };
      socket.onclose = () => {
        clearTimeout(timer);
        this.giveUp();
      };
      socket.onmessage = ({ data }) => this.#read(data);
    });
  }

  async send(messages) {
    if (this.socket.readyState !== WebSocket.OPEN) throw BayeuxError.lost("connection closed");
    this.socket.send(JSON.stringify(messages));
  }

  close() {
    this.giveUp(); // of no effect once it is open
    this.socket.onclose = null;
    this.socket.onmessage = null;
    this.socket.close();
  }

  #read(data) {
    let messages;
    try {
      messages = parse(data);
    } catch {
      this.close();
      this.#lose("the server sent something that is not JSON");
      return;
    }
    this.onMessages(messages);
  }

  #lose(why) {
    this.onLost(this, BayeuxError.lost(why));
  }
}

export class LongPollingTransport {
  static type = "long-polling";

  constructor(url, onMessages) {
    this.url = url;
    this.onMessages = onMessages;
    this.aborter = new AbortController();
    this.turn = Promise.resolve();
  }

  async open() {}

  /** The poll has a request of its own; all else shares the second one, in order. */
  send(messages) {
    if (messages[0].channel === "/meta/connect") return this.#post(messages);
    const sent = this.turn.then(() => this.#post(messages));
    this.turn = sent.catch(() => {}); // its caller hears of it; the next has its own turn
    return sent;
  }

  close() {
    this.aborter.abort();
  }

  async #post(messages) {
    let response, text;
    try {
      response = await fetch(this.url, {
        method: "POST",
        headers: { "Content-Type": "application/json;charset=UTF-8" },
        body: JSON.stringify(messages),
        signal: this.aborter.signal,
      });
      text = await response.text();
    } catch {
      throw BayeuxError.lost("the server cannot be reached");
    }
    if (!response.ok) throw new BayeuxError(`${response.status}::HTTP ${response.status}`);
    let answers;
    try {
      answers = parse(text);
    } catch {
      throw BayeuxError.lost("the server sent something that is not JSON");
    }
    this.onMessages(answers);
  }
}
