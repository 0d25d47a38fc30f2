/**
 * The demo page in a real Chromium, one scenario a run:
 *
 *   node demo_page.mjs SCENARIO '{"urls": […], "chromium": "…", "shots": "…", "key": "…"}'
 *
 * Ends with status 0 if everything was as it must be; otherwise says what was not.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import {
  addressOf,
  browser,
  connected,
  converse,
  count,
  DESKTOP,
  key,
  newContext,
  said,
  say,
  shots,
  shows,
  tell,
  threeTabs,
  told,
  visit,
  whisper,
} from "./tabs.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

const scenarios = {
  async group() {
    await converse(await threeTabs());
  },

  async direct() {
    const [zero, one, two] = await threeTabs();
    const addresses = await Promise.all([zero, one, two].map(addressOf));
    assert.equal(new Set(addresses).size, 3);
    await whisper(two, zero, one);
    // The receiver can answer at once: the address is filled in.
    await zero.fill("#direct-text", "and back");
    await zero.press("#direct-text", "Enter");
    await told(two, "and back");
    // A click on a sender in a room fills it in as well.
    await say(one, "write to me");
    await said(two, "write to me");
    await two.locator("#room-feed button.sender").last().click();
    assert.equal(await two.inputValue("#direct-to"), addresses[1]);
  },

  async longPolling() {
    const pages = await threeTabs();
    const before = await Promise.all(pages.map(addressOf));
    for (const page of pages) {
      await page.locator("#transports span", { hasText: "Long-polling" }).click();
      await connected(page, "long-polling");
    }
    await converse(pages);
    await whisper(pages[2], pages[0], pages[1]);
    assert.deepEqual(await Promise.all(pages.map(addressOf)), before, "the sessions went on");
    for (const page of pages) {
      await page.locator("#transports span", { hasText: "Automatic" }).click();
      await connected(page, "WebSocket");
    }
    await converse(pages);
    assert.deepEqual(await Promise.all(pages.map(addressOf)), before, "the sessions went on");
  },

  async fallback() {
    const context = await newContext();
    await context.routeWebSocket(/bayeux/, (socket) => socket.close());
    const pages = await Promise.all(
      [0, 1, 2].map((node) => visit(context, node, { transport: "long-polling" })),
    );
    await converse(pages);
    await whisper(pages[2], pages[0], pages[1]);
  },

  async reload() {
    const context = await newContext();
    const [zero, one] = [await visit(context, 0), await visit(context, 1)];
    await say(one, "before the reload");
    await said(zero, "before the reload");
    const address = await addressOf(zero);
    for (const transport of ["WebSocket", "long-polling"]) {
      await zero.locator(`#transports span`, { hasText: new RegExp(transport, "i") }).click();
      await connected(zero, transport);
      const reloading = zero.reload();
      await say(one, `during the reload by ${transport}`);
      await reloading;
      await connected(zero, transport);
      assert.equal(await addressOf(zero), address, "the session went on");
      await said(zero, "before the reload");
      await said(zero, `during the reload by ${transport}`);
      await say(zero, `after the reload by ${transport}`);
      await said(one, `after the reload by ${transport}`);
      assert.equal(await count(zero, ".text", `during the reload by ${transport}`), 1);
    }
  },

  async offline() {
    const context = await newContext();
    await context.routeWebSocket(/bayeux/, (socket) => socket.close());
    const zero = await visit(context, 0, { transport: "long-polling" });
    const one = await visit(await newContext(), 1);
    const address = await addressOf(zero);
    await context.setOffline(true);
    await shows(zero, "#state", "Offline");
    await say(zero, "kept");
    await shows(zero, "#room-error", "Not sent");
    assert.equal(await zero.inputValue("#room-text"), "kept", "what was not sent is given back");
    await say(one, "missed by nobody");
    await context.setOffline(false);
    await connected(zero, "long-polling");
    await said(zero, "missed by nobody");
    assert.equal(await addressOf(zero), address, "the session went on");
    zero.faults = []; // the browser reports requests that failed while it was offline
  },

  async renewal() {
    const context = await newContext();
    let secret;
    context.on("page", (page) =>
      page.on("websocket", (socket) =>
        socket.on("framereceived", ({ payload }) => {
          secret = payload.match(/"clientId":"([^"]+)"/)?.[1] ?? secret;
        }),
      ),
    );
    const zero = await visit(context, 0);
    const [first, before] = [secret, await addressOf(zero)];
    const one = await visit(context, 1);
    await zero.evaluate(async (clientId) => {
      const body = JSON.stringify([{ channel: "/meta/disconnect", clientId, id: "end" }]);
      const headers = { "Content-Type": "application/json" };
      const [reply] = await (await fetch("/bayeux", { method: "POST", headers, body })).json();
      if (!reply.successful) throw new Error(JSON.stringify(reply));
    }, first);
    await zero.waitForFunction(
      (old) => document.getElementById("address").textContent !== old,
      before,
    );
    await connected(zero, "WebSocket");
    await say(one, "to your new session");
    await said(zero, "to your new session");
    await whisper(one, zero, await visit(context, 2));
  },

  async refusals() {
    const [zero, one] = await threeTabs();
    const address = await addressOf(one);
    await tell(zero, `${address.slice(0, -4)}AAAA`, "is anybody there?");
    await shows(zero, "#direct-error", "There is no session with that address. (404");
    assert.equal(await zero.inputValue("#direct-text"), "is anybody there?");
    await zero.fill("#join-name", "not a room");
    await zero.press("#join-name", "Enter");
    assert.equal(await count(zero, "#room-list button", "not a room"), 0);
    await zero.locator("#leave").click();
    await shows(zero, "#room-feed", "You are in no room");
    await say(one, "to those who stayed");
    await said(one, "to those who stayed");
    assert.equal(await count(zero, ".text", "to those who stayed"), 0);
  },

  async rooms() {
    const context = await newContext();
    const [zero, two] = [await visit(context, 0), await visit(context, 2)];
    for (const page of [zero, two]) {
      await page.fill("#join-name", "launch");
      await page.press("#join-name", "Enter");
      await shows(page, "#room-channel", "/chat/launch");
    }
    await say(two, "ignition");
    await said(zero, "ignition");
    await zero.locator("#room-list button", { hasText: "lobby" }).click();
    assert.equal(await count(zero, ".text", "ignition"), 0, "a room shows its own messages");
    await say(two, "lift-off");
    await shows(zero, "#room-list .badge", "1");
    await zero.locator("#room-list button", { hasText: "launch" }).click();
    await said(zero, "lift-off");
    assert.equal(await count(zero, "#room-list .badge", ""), 0);
  },

  async markup() {
    const [zero, one] = await threeTabs();
    const nasty = `<img src=x onerror="document.title='owned'"><b>bold</b>`;
    await one.fill("#name", "<i>name</i>");
    await say(one, nasty);
    await said(zero, nasty);
    await tell(one, await addressOf(zero), nasty);
    await told(zero, nasty);
    assert.equal(await zero.locator(".feed img, .feed b:not(.sender), .feed i").count(), 0);
    assert.equal(await zero.title(), "cometring");
  },

  async secrets() {
    const context = await newContext();
    const traffic = [];
    context.on("request", (request) => {
      traffic.push(JSON.stringify(request.headers()), request.url(), request.postData() ?? "");
    });
    context.on("response", async (response) => {
      if (response.request().resourceType() !== "fetch") traffic.push(await response.text());
    });
    context.on("page", (page) => {
      page.on("websocket", (socket) => {
        socket.on("framesent", ({ payload }) => traffic.push(payload));
        socket.on("framereceived", ({ payload }) => traffic.push(payload));
      });
    });
    const [zero, one, two] = await Promise.all([0, 1, 2].map((node) => visit(context, node)));
    await whisper(two, zero, one);
    const all = traffic.join("\n");
    assert.match(all, /bayeux\.js|#channels/, "the traffic was seen");
    assert.ok(!all.includes(key), "no API key crosses the wire");
    assert.doesNotMatch(all, /"authorization"|x-api-key/i);
    const secrets = [...all.matchAll(/"clientId":"([^"]+)"/g)].map((match) => match[1]);
    assert.ok(new Set(secrets).size >= 3, "the sessions were seen");
    for (const page of [zero, one, two]) {
      const html = await page.content();
      for (const secret of secrets) assert.ok(!html.includes(secret), "a session id is not shown");
    }
  },

  async screenshots() {
    const light = await visit(await newContext(), 0);
    const dark = await visit(await newContext({ ...DESKTOP, colorScheme: "dark" }), 1);
    const phone = await visit(await newContext(PHONE), 2);
    await light.screenshot({ path: join(shots, "empty.png") });
    await light.fill("#name", "Ada");
    await dark.fill("#name", "Grace");
    await phone.locator("[data-shows=you]").click();
    await phone.fill("#name", "Edsger");
    await phone.screenshot({ path: join(shots, "phone-you.png") });
    await phone.locator("[data-shows=rooms]").click();
    const lines = [
      [light, "Good morning! I am on the first node. Is anybody on another one?"],
      [dark, "On the second. Same room, and the same order of messages for all of us."],
      [phone, "Third node, from a phone."],
      [phone, "One hop away from both of you, if I read the ring right."],
      [light, "Which of our nodes is home to this room?"],
      [dark, "Ask any of the three: they all name the same one."],
      [dark, "The launch checklist is in the other room, by the way."],
    ];
    for (const [page, text] of lines) {
      await say(page, text);
      for (const other of [light, dark, phone]) await said(other, text);
    }
    for (const page of [dark, light]) {
      await page.fill("#join-name", "launch");
      await page.press("#join-name", "Enter");
      await shows(page, "#room-channel", "/chat/launch");
    }
    await light.locator("#room-list button", { hasText: "lobby" }).click();
    await say(dark, "Checklist: ring healthy, three of three nodes.");
    await shows(light, "#room-list .badge", "1");
    await light.locator("#room-feed button.sender", { hasText: "Edsger" }).first().click();
    await light.fill("#direct-text", "Just between us: how does it feel on a phone?");
    await light.press("#direct-text", "Enter");
    await shows(phone, "#direct-badge", "1");
    await phone.screenshot({ path: join(shots, "phone.png") });
    await phone.locator("[data-shows=direct]").click();
    await told(phone, "Just between us");
    await phone.fill("#direct-text", "As quick as at the desk. And nobody else reads this.");
    await phone.locator("#direct-form button").click();
    await told(light, "As quick as");
    await light.evaluate(() => document.activeElement.blur());
    await light.mouse.move(700, 30);
    await light.waitForTimeout(1200); // the spark has landed
    await light.screenshot({ path: join(shots, "light.png") });
    await dark.screenshot({ path: join(shots, "dark.png") });
    await phone.screenshot({ path: join(shots, "phone-direct.png") });
    for (const page of [light, dark, phone]) {
      const [inner, outer] = await page.evaluate(() => [
        document.documentElement.scrollWidth, innerWidth,
      ]);
      assert.ok(inner <= outer, "nothing sticks out to the side");
    }
  },
};

try {
  await scenarios[process.argv[2]]();
  for (const context of browser.contexts()) {
    for (const page of context.pages()) assert.deepEqual(page.faults ?? [], [], page.url());
  }
} catch (error) {
  for (const [i, page] of browser.contexts().flatMap((context) => context.pages()).entries()) {
    await page.screenshot({ path: join(shots, `failed-${i}.png`) });
    console.log(`page ${i} ${page.url()}\n${await page.locator("body").innerText()}\n`);
  }
  console.log(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
