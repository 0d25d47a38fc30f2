/**
 * The stock CometD client in Chromium, on a page of the node's own origin or of another site.
 *
 *   node stock_client.mjs SCENARIO '{"urls": […], "chromium": …, "key": …, "client": FOLDER}'
 *
 * The page and the client's files are put before the browser by interception, so
 * that the page can be of any origin; all else goes to the nodes.
 */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

const { urls, chromium: executablePath, key, client, elsewhere, direct } = JSON.parse(process.argv[3]);
const LIMIT = 15_000; // ms for anything to happen
const TRANSPORTS = ["websocket", "long-polling", "callback-polling"];
const OWN = urls[0].replace(/\/$/, "");
const ELSEWHERE = elsewhere;

const browser = await chromium.launch({
  executablePath,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    // An intercepted page has no address, so its calls to loopback would be refused.
    "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
    ...(OWN.startsWith("https:") ? ["--ignore-certificate-errors"] : []), // made for the test
  ],
});

const EXTENSIONS = ["AckExtension", "BinaryExtension", "ReloadExtension", "TimeStampExtension", "TimeSyncExtension"];
const SCRIPT = `
  import { CometD } from "./cometd.js";
  ${EXTENSIONS.map((name) => `import { ${name} } from "./${name}.js";`).join("\n")}
  window.extensions = { ${EXTENSIONS} };
  window.CometD = CometD;
`;

/** A tab at `origin`, on which `window.CometD` is the stock client's class. */
async function tab(context, origin) {
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT);
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  await page.route(`${origin}/stock/**`, async (route) => {
    const name = new URL(route.request().url()).pathname.slice("/stock/".length);
    if (name === "") {
      await route.fulfill({ contentType: "text/html", body: `<script type="module">${SCRIPT}</script>` });
    } else {
      const body = await readFile(join(client, "cometd", name));
      await route.fulfill({ contentType: "text/javascript", body });
    }
  });
  await page.goto(`${origin}/stock/`);
  await page.waitForFunction(() => window.CometD !== undefined);
  return page;
}

/**
 * Handshake over one transport (or several, comma-separated) with all extensions, and subscribe.
 * What arrives is in `window.got`.
 */
const join_ = (page, url, transport, channel) =>
  page.evaluate(
    ([target, only, name]) =>
      new Promise((resolve, reject) => {
        const cometd = (window.cometd = new window.CometD());
        for (const type of cometd.getTransportTypes()) {
          if (!only.split(",").includes(type)) cometd.unregisterTransport(type);
        }
        for (const [each, Extension] of Object.entries(window.extensions)) {
          cometd.registerExtension(each, new Extension());
        }
        window.addEventListener("beforeunload", () => cometd.reload());
        window.got = [];
        window.connects = [];
        cometd.configure({ url: `${target}/bayeux`, maxNetworkDelay: 5_000, connectTimeout: 1_000 });
        const keep = ({ data }) =>
          window.got.push(data?.data instanceof ArrayBuffer ? [...new Uint8Array(data.data)] : data);
        cometd.addListener("/meta/connect", (reply) => window.connects.push(reply));
        cometd.addListener("/service/inbox", (message) => window.got.push(message.data));
        cometd.handshake((reply) => {
          if (!reply.successful && only.includes(",")) return undefined; // it tries the next one
          if (!reply.successful) return reject(new Error(JSON.stringify(reply)));
          window.greeting = reply;
          return cometd.subscribe(name, keep, (answer) =>
            answer.successful ? resolve(reply.ext.address) : reject(new Error(JSON.stringify(answer))));
        });
      }),
    [url, transport, channel],
  );

const got = (page, expected) =>
  page.waitForFunction((wanted) => JSON.stringify(window.got) === wanted, JSON.stringify(expected))
    .catch(async () => assert.deepEqual(await page.evaluate(() => window.got), expected));

async function api(call, body) {
  const response = await fetch(`${direct ?? urls[1]}api/${call}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.equal(response.status, 200, await response.text());
}

const cookiesOf = async (context) =>
  (await context.cookies(OWN)).filter((cookie) => cookie.name === "BAYEUX_BROWSER");

/** Everything that a client does, over one transport, from a page at `origin`. */
async function conversation(origin, transport) {
  const context = await browser.newContext();
  const page = await tab(context, origin);
  const channel = `/stock/${transport}-${origin === OWN ? "own" : "elsewhere"}`;
  const address = await join_(page, OWN, transport, channel);
  await page.evaluate((name) => window.cometd.publish(name, "mine"), channel);
  await got(page, ["mine"]);
  await api("publish", { channel, data: "\u2028 theirs" });
  await got(page, ["mine", "\u2028 theirs"]);
  await api("send", { session: address, data: "direct" });
  await got(page, ["mine", "\u2028 theirs", "direct"]);
  await page.evaluate((name) => window.cometd.publishBinary(name, new Uint8Array([0, 255, 7]).buffer), channel);
  await got(page, ["mine", "\u2028 theirs", "direct", [0, 255, 7]]);
  assert.equal(await page.evaluate(() => window.greeting.ext.ack), true);
  const acks = await page.evaluate(() => window.connects.map((reply) => reply.ext.ack));
  assert(acks.length > 1 && acks.every((ack, index) => !index || ack > acks[index - 1]), String(acks));
  const offset = await page.evaluate(() => window.cometd.getExtension("TimeSyncExtension").getTimeOffset());
  assert(Math.abs(offset) < 200, `the clocks are one: ${offset} ms`);
  const cookies = await cookiesOf(context);
  if (origin === OWN && transport !== "websocket") {
    assert.equal(cookies.length, 1, "a page of ours gets the cookie");
    assert.equal(cookies[0].httpOnly, true);
    assert.equal(cookies[0].sameSite, "Lax");
    assert.equal(cookies[0].secure, OWN.startsWith("https:"));
    assert.equal(await page.evaluate(() => document.cookie), "");
  } else {
    assert.equal(cookies.length, 0, "and no other gets one");
  }
  const ended = await page.evaluate(
    () => new Promise((resolve) => window.cometd.disconnect((reply) => resolve(reply.successful))),
  );
  assert.equal(ended, true);
  assert.deepEqual(page.faults, []);
  await context.close();
}

/** Two tabs: the second polls, both get everything, and it is held once it is alone. */
async function twoTabs(transport) {
  const context = await browser.newContext();
  const channel = `/stock/tabs-${transport}`;
  const first = await tab(context, OWN);
  await join_(first, OWN, transport, channel);
  const second = await tab(context, OWN);
  await join_(second, OWN, transport, channel);
  const told = (page) =>
    page.waitForFunction(() => window.connects.some((reply) => reply.advice?.["multiple-clients"]));
  await told(second);
  assert.equal(await first.evaluate(() => window.connects.some((r) => r.advice?.["multiple-clients"])), false);
  await api("publish", { channel, data: 1 });
  await Promise.all([got(first, [1]), got(second, [1])]);
  await first.evaluate(() => new Promise((resolve) => window.cometd.disconnect(resolve)));
  await second.evaluate(() => (window.connects = []));
  await api("publish", { channel, data: 2 });
  await got(second, [1, 2]);
  await second.waitForFunction(() => window.connects.some((r) => r.advice && !r.advice["multiple-clients"]));
  await context.close();
}

/** A page that is reloaded goes on with its session, and misses nothing. */
async function reload(transport) {
  const context = await browser.newContext();
  const channel = `/stock/reload-${transport}`;
  const page = await tab(context, OWN);
  await join_(page, OWN, transport, channel);
  const before = await page.evaluate(() => window.cometd.getClientId());
  await api("publish", { channel, data: 1 });
  await got(page, [1]);
  await page.waitForFunction(() => window.connects.length > 1); // and the next acknowledges it
  await page.waitForTimeout(200);
  await page.goto("about:blank"); // half of a reload
  await api("publish", { channel, data: 2 });
  await page.goto(`${OWN}/stock/`);
  await page.waitForFunction(() => window.CometD !== undefined);
  await api("publish", { channel, data: 3 });
  await join_(page, OWN, transport, channel);
  assert.equal(await page.evaluate(() => window.cometd.getClientId()), before);
  assert.equal(await page.evaluate(() => window.greeting.ext.reload), true);
  await api("publish", { channel, data: 4 });
  await got(page, [2, 3, 4]);
  assert.deepEqual(page.faults, []);
  await context.close();
}

/** A proxy in front has no WebSockets: the client goes on with polls. */
async function fallback() {
  const context = await browser.newContext();
  const channel = "/stock/fallback";
  const page = await tab(context, OWN);
  await join_(page, OWN, "websocket,long-polling,callback-polling", channel);
  assert.equal(await page.evaluate(() => window.cometd.getTransport().type), "long-polling");
  await page.evaluate((name) => window.cometd.publish(name, 1), channel);
  await got(page, [1]);
  await api("publish", { channel, data: 2 });
  await got(page, [1, 2]);
  assert.deepEqual(page.faults, []);
  await context.close();
}

/** `EventSource` without Bayeux: events, and the browser's own way of coming back. */
async function events(origin) {
  const context = await browser.newContext();
  const page = await tab(context, origin);
  const read = (query) =>
    page.evaluate(
      ([url, asked]) =>
        new Promise((resolve) => {
          window.got = [];
          window.source = new EventSource(`${url}/sse?${asked}`);
          window.source.addEventListener("session", (event) => resolve(JSON.parse(event.data)));
          window.source.onmessage = (event) => window.got.push(JSON.parse(event.data).data);
        }),
      [OWN, query],
    );
  const { address } = await read("channel=/stock/sse-1&channel=/stock/sse-2");
  await api("publish", { channel: "/stock/sse-1", data: 1 });
  await api("publish", { channel: "/stock/sse-2", data: 2 });
  await api("send", { session: address, data: 3 });
  await got(page, [1, 2, 3]);
  assert.equal((await cookiesOf(context)).length, origin === OWN ? 1 : 0);
  assert.deepEqual(page.faults, []);
  await context.close();
}

const scenarios = {
  conversation: (origin, transport) => conversation(origin === "own" ? OWN : ELSEWHERE, transport),
  conversations: async () => {
    for (const transport of TRANSPORTS) await conversation(OWN, transport);
  },
  reload: async () => {
    for (const transport of TRANSPORTS) await reload(transport);
  },
  fallback,
  twoTabs: (transport) => twoTabs(transport),
  events: (origin) => events(origin === "own" ? OWN : ELSEWHERE),
};

const [name, ...words] = process.argv[2].split(" ");
try {
  await scenarios[name](...words);
} finally {
  await browser.close();
}
