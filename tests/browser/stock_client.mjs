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

const { urls, chromium: executablePath, key, client, elsewhere } = JSON.parse(process.argv[3]);
const LIMIT = 15_000; // ms for anything to happen
const OWN = urls[0].replace(/\/$/, "");
const ELSEWHERE = elsewhere;

const browser = await chromium.launch({
  executablePath,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    // An intercepted page has no address, so its calls to loopback would be refused.
    "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
  ],
});

/** A tab at `origin`, on which `window.CometD` is the stock client's class. */
async function tab(context, origin) {
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT);
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  await page.route(`${origin}/stock/**`, async (route) => {
    const name = new URL(route.request().url()).pathname.slice("/stock/".length);
    if (name === "") {
      const body = '<script type="module">import * as m from "./cometd.js"; window.CometD = m.CometD;</script>';
      await route.fulfill({ contentType: "text/html", body });
    } else {
      const body = await readFile(join(client, "cometd", name));
      await route.fulfill({ contentType: "text/javascript", body });
    }
  });
  await page.goto(`${origin}/stock/`);
  await page.waitForFunction(() => window.CometD !== undefined);
  return page;
}

/** Handshake over one transport and subscribe; what arrives is in `window.got`. */
const join_ = (page, url, transport, channel) =>
  page.evaluate(
    ([target, only, name]) =>
      new Promise((resolve, reject) => {
        const cometd = (window.cometd = new window.CometD());
        for (const type of cometd.getTransportTypes()) {
          if (type !== only) cometd.unregisterTransport(type);
        }
        window.got = [];
        window.connects = [];
        cometd.configure({ url: `${target}/bayeux`, maxNetworkDelay: 5_000 });
        cometd.addListener("/meta/connect", (reply) => window.connects.push(reply));
        cometd.addListener("/service/inbox", (message) => window.got.push(message.data));
        cometd.handshake((reply) => {
          if (!reply.successful) return reject(new Error(JSON.stringify(reply)));
          return cometd.subscribe(name, (message) => window.got.push(message.data), (answer) =>
            answer.successful ? resolve(reply.ext.address) : reject(new Error(JSON.stringify(answer))));
        });
      }),
    [url, transport, channel],
  );

const got = (page, expected) =>
  page.waitForFunction((wanted) => JSON.stringify(window.got) === wanted, JSON.stringify(expected))
    .catch(async () => assert.deepEqual(await page.evaluate(() => window.got), expected));

async function api(call, body) {
  const response = await fetch(`${urls[1]}api/${call}`, {
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
  const cookies = await cookiesOf(context);
  if (origin === OWN && transport !== "websocket") {
    assert.equal(cookies.length, 1, "a page of ours gets the cookie");
    assert.equal(cookies[0].httpOnly, true);
    assert.equal(cookies[0].sameSite, "Lax");
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
  twoTabs: (transport) => twoTabs(transport),
  events: (origin) => events(origin === "own" ? OWN : ELSEWHERE),
};

const [name, ...words] = process.argv[2].split(" ");
try {
  await scenarios[name](...words);
} finally {
  await browser.close();
}
