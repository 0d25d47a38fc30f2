/**
 * The stock CometD client as a child process: commands are JSON lines on standard input,
 * answers and what arrives are JSON lines on standard output.
 *
 *   node stock_client.mjs URL long-polling|websocket
 *
 * A command {"n": 1, "do": "subscribe", "channel": "/chat/room"} is answered by
 * {"n": 1, "reply": {…}}; messages come as {"message": {…}}, lost and regained
 * connections as {"connect": {…}}. The client ends when standard input does.
 */

import { createInterface } from "node:readline";
import { CometD } from "cometd";
import { adapt } from "cometd-nodejs-client";

const [url, transport] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

adapt();
console.debug = console.log = console.info = () => {}; // standard output is ours

const cometd = new CometD();
for (const type of cometd.getTransportTypes()) {
  if (type !== transport) cometd.unregisterTransport(type);
}
cometd.configure({ url });

let connected = null;
cometd.addListener("/meta/connect", (reply) => {
  if (reply.successful === connected) return;
  connected = reply.successful;
  say({ connect: reply });
});

const receive = (message) => say({ message });
const subscriptions = new Map(); // channel -> what the client gave for it

const commands = {
  handshake: (_, done) => cometd.handshake(done),
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
  disconnect: (_, done) => cometd.disconnect(done),
};

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const { n, do: name, ...words } = JSON.parse(line);
  commands[name](words, (reply) => say({ n, reply }));
});
lines.on("close", () => process.exit(0));
