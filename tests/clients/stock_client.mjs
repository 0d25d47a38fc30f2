/**
 * The stock CometD client as a child process: commands are JSON lines on standard input,
 * answers and what arrives are JSON lines on standard output.
 *
 *   node stock_client.mjs URL TRANSPORT… ['{"extensions": ["ack", …], "settings": {…}}']
 *
 * Transports are those that it may use, comma-separated.
 * A command {"n": 1, "do": "subscribe", "channel": "/chat/room"} is answered by
 * {"n": 1, "reply": {…}}; messages come as {"message": {…}}, lost and regained
 * connections as {"connect": {…}}. The client ends when standard input does.
 */

import { createInterface } from "node:readline";
import { CometD } from "cometd";
import { AckExtension } from "cometd/AckExtension.js";
import { BinaryExtension } from "cometd/BinaryExtension.js";
import { TimeStampExtension } from "cometd/TimeStampExtension.js";
import { TimeSyncExtension } from "cometd/TimeSyncExtension.js";
import { adapt } from "cometd-nodejs-client";

const [url, transports, options = "{}"] = process.argv.slice(2);
const { extensions = [], settings = {} } = JSON.parse(options);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

adapt();
console.debug = console.log = console.info = () => {}; // standard output is ours

const cometd = new CometD();
for (const type of cometd.getTransportTypes()) {
  if (!transports.split(",").includes(type)) cometd.unregisterTransport(type);
}
const known = {
  ack: AckExtension, binary: BinaryExtension, timestamp: TimeStampExtension, timesync: TimeSyncExtension,
};
const registered = {};
for (const name of extensions) cometd.registerExtension(name, (registered[name] = new known[name]()));
cometd.configure({ url, ...settings });

let connected = null;
cometd.addListener("/meta/connect", (reply) => {
  if (reply.successful === connected) return;
  connected = reply.successful;
  say({ connect: reply });
});

let counting = false; // copies that come, rather than calls of subscribers
// Bytes become hexadecimal digits, which JSON can carry.
const receive = (message) => {
  if (message.data?.data instanceof ArrayBuffer) {
    message.data.data = Buffer.from(message.data.data).toString("hex");
  }
  if (!counting) say({ message });
};
const subscriptions = new Map(); // channel -> what the client gave for it

const commands = {
  handshake: (_, done) => cometd.handshake(done),
  countCopies: (_, done) => {
    counting = true;
    const incoming = (message) => {
      if ("data" in message && !("successful" in message)) say({ message });
      return message;
    };
    cometd.registerExtension("copies", { incoming });
    done({ successful: true });
  },
  listen: ({ channel }, done) => {
    cometd.addListener(channel, receive);
    done({ successful: true });
  },
  subscribe: ({ channel }, done) => {
    subscriptions.set(channel, cometd.subscribe(channel, receive, done));
  },
  unsubscribe: ({ channel }, done) => cometd.unsubscribe(subscriptions.get(channel), done),
  publish: ({ channel, data }, done) => cometd.publish(channel, data, done),
  // One request after the other, as fast as the client makes them.
  publishMany: ({ channel, count }, done) => {
    const failed = [];
    let answered = 0;
    for (let i = 0; i < count; i += 1) {
      cometd.publish(channel, { i }, (reply) => {
        answered += 1;
        if (!reply.successful) failed.push(reply);
        if (answered === count) done({ successful: failed.length === 0, failed });
      });
    }
  },
  publishBytes: ({ channel, hex }, done) => {
    const bytes = Uint8Array.from(Buffer.from(hex, "hex"));
    cometd.publishBinary(channel, bytes.buffer, true, { kind: "test" }, done);
  },
  status: (_, done) => done({
    successful: true,
    clientId: cometd.getClientId(),
    transport: cometd.getTransport()?.type,
    offset: registered.timesync?.getTimeOffset(),
    lag: registered.timesync?.getNetworkLag(),
  }),
  disconnect: (_, done) => cometd.disconnect(done),
};

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const { n, do: name, ...words } = JSON.parse(line);
  commands[name](words, (reply) => say({ n, reply }));
});
lines.on("close", () => process.exit(0));
