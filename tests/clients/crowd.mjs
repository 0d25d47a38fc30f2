/**
 * Many stock CometD clients in one process, each with the ack extension: they listen, they
 * publish, and they keep a book of what was acknowledged and what has come.
 *
 *   node crowd.mjs URL
 *
 * Commands and answers are JSON lines, as in stock_client.mjs:
 *
 *   {"n": 1, "do": "open", "clients": [{"name", "transport", "rooms"}, …], "prefix": "p0"}
 *   {"n": 2, "do": "publish", "rate": 100, "direct": 0.1, "to": [address, …]}   until "stop"
 *   {"n": 3, "do": "stop", "seconds": 30}       once every publish has been acknowledged
 *   {"n": 4, "do": "tell"}                      counts so far
 *   {"n": 5, "do": "report", "file": "/tmp/book.json"}
 *
 * A publish that fails is made again, with the same `ext.messageId`, until it is acknowledged.
 */

import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { AckExtension, CometD } from "cometd";
import { adapt } from "cometd-nodejs-client";

const TICK = 20; // ms between looks at what is due
const AGAIN = 250; // ms before a failed publish is made again
const INBOX = "/service/inbox";

const [url] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

adapt();
console.debug = console.log = console.info = console.warn = () => {}; // standard output is ours

const members = []; // of the crowd
const acknowledged = []; // [topic, id]: the server has said "successful"
const failures = {}; // how often a publish failed, by reason
const failed = []; // which, and when: [member, topic, id, ms when made, ms when failed, reason]
let [published, outstanding, retried] = [0, 0, 0];
let prefix = "";

class Member {
  constructor({ name, transport, rooms }) {
    this.name = name;
    this.transport = transport;
    this.rooms = rooms;
    this.received = new Map(); // channel -> [[id, message id], …] as they came
    this.seen = new Map(); // channel and id -> ms, when it came first
    this.repeats = []; // what came again: [channel, id, ms when first, ms when again]
    this.handshakes = 0;
    this.lost = 0; // connects that failed
    this.gaps = [];
    this.failed = []; // connects: when, and why
    this.connectedAt = 0; // ms, the last that succeeded
    this.last = 0; // ms, when something came
    this.worst = { pause: 0, at: 0 };
    this.cometd = new CometD(name);
    for (const type of this.cometd.getTransportTypes()) {
      if (type !== transport) this.cometd.unregisterTransport(type);
    }
    this.cometd.registerExtension("ack", new AckExtension());
    this.cometd.configure({ url });
    this.cometd.addListener("/meta/handshake", (reply) => {
      if (reply.successful) this.handshakes += 1;
    });
    this.cometd.addListener("/meta/connect", (reply) => {
      if (reply.successful) {
        this.connectedAt = Date.now();
      } else {
        this.lost += 1;
        this.failed.push([Date.now(), reply.error ?? reply.failure?.reason ?? "?"]);
      }
      if (reply.ext?.gaps) this.gaps.push(...reply.ext.gaps);
    });
    this.cometd.addListener(INBOX, (message) => this.take(message));
  }

  open() {
    return new Promise((resolve, reject) => {
      this.cometd.handshake((reply) => {
        if (!reply.successful) return; // the client tries again
        this.address = reply.ext.address;
        let left = this.rooms.length;
        if (!left) resolve();
        for (const room of this.rooms) {
          this.cometd.subscribe(room, (message) => this.take(message), (answer) => {
            if (!answer.successful) reject(new Error(JSON.stringify(answer)));
            else if (!(left -= 1)) resolve();
          });
        }
      });
    });
  }

  take({ channel, data, id }) {
    const now = Date.now();
    if (this.last && now - this.last > this.worst.pause) {
      this.worst = { pause: now - this.last, at: now };
    }
    this.last = now;
    let list = this.received.get(channel);
    if (list === undefined) this.received.set(channel, (list = []));
    list.push([data.i, id]);
    const what = `${channel} ${data.i}`;
    const first = this.seen.get(what);
    if (first === undefined) this.seen.set(what, now);
    else this.repeats.push([channel, data.i, first, now]);
  }

  publish(topic, channel, data) {
    outstanding += 1;
    const attempt = () => {
      const began = Date.now();
      const done = (reply) => {
        if (reply.successful) {
          outstanding -= 1;
          acknowledged.push([topic, data.i ?? data.data.i]);
          return;
        }
        const reason = reply.error ?? reply.failure?.reason ?? "?";
        failures[reason] = (failures[reason] ?? 0) + 1;
        failed.push([this.name, topic, data.i ?? data.data.i, began, Date.now(), reason]);
        retried += 1;
        setTimeout(attempt, AGAIN);
      };
      if (this.cometd.isDisconnected()) setTimeout(attempt, AGAIN);
      else this.cometd.publish(channel, data, { ext: { messageId: data.i ?? data.data.i } }, done);
    };
    attempt();
  }
}

let [timer, began, rate, direct, targets] = [null, 0, 0, 0, []];
let made = 0;

function publishDue() {
  const due = Math.floor(((Date.now() - began) / 1000) * rate);
  for (; made < due; made += 1) {
    const member = members[made % members.length];
    const i = `${prefix}-${(published += 1)}`;
    if (targets.length && (made % 1000) / 1000 < direct) {
      const to = targets[Math.floor(Math.random() * targets.length)];
      member.publish(to, "/service/send", { to, data: { i } });
    } else if (member.rooms.length) {
      const room = member.rooms[made % member.rooms.length];
      member.publish(room, room, { i });
    }
  }
}

const counts = () => ({
  clients: members.length,
  published,
  acknowledged: acknowledged.length,
  outstanding,
  retried,
  failures,
  received: members.reduce((n, m) => n + [...m.received.values()].reduce((k, l) => k + l.length, 0), 0),
  handshakes: members.reduce((n, m) => n + m.handshakes, 0),
  lost: members.reduce((n, m) => n + m.lost, 0),
});

const commands = {
  async open({ clients, prefix: given }) {
    prefix = given;
    for (const settings of clients) members.push(new Member(settings));
    for (let i = 0; i < members.length; i += 20) {
      await Promise.all(members.slice(i, i + 20).map((member) => member.open()));
    }
    return { addresses: members.map((member) => member.address) };
  },
  async publish(words) {
    ({ rate, direct, to: targets } = words);
    began = Date.now();
    made = 0;
    timer = setInterval(publishDue, TICK);
    return counts();
  },
  async stop({ seconds }) {
    clearInterval(timer);
    const end = Date.now() + seconds * 1000;
    while (outstanding && Date.now() < end) await new Promise((done) => setTimeout(done, TICK));
    return counts();
  },
  async tell() {
    return counts();
  },
  async report({ file }) {
    const book = {
      ...counts(),
      acknowledged,
      failed,
      members: members.map((member) => ({
        name: member.name,
        transport: member.transport,
        address: member.address,
        rooms: member.rooms,
        handshakes: member.handshakes,
        lost: member.lost,
        gaps: member.gaps,
        failed: member.failed,
        connectedAt: member.connectedAt,
        worst: member.worst,
        repeats: member.repeats,
        received: Object.fromEntries(member.received),
      })),
    };
    writeFileSync(file, JSON.stringify(book));
    return {};
  },
};

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const { n, do: name, ...words } = JSON.parse(line);
  commands[name](words).then(
    (reply) => say({ n, reply }),
    (error) => say({ n, error: String(error) }),
  );
});
lines.on("close", () => process.exit(0));
