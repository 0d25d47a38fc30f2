/**
 * The console in a real Chromium, one scenario after the other:
 *
 *   node console_page.mjs SCENARIO,… '{"urls": [console], "chromium": "…", "shots": "…", …}'
 *
 * Ends with status 0 if everything was as it must be; otherwise says what was not.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import axe from "axe-core";
import { countPulses, heldBy, watched } from "./heap.mjs";
import { browser, DESKTOP, newContext, shots, shows, urls } from "./tabs.mjs";

const given = JSON.parse(process.argv[3]);
const [url] = urls;
const WARM = 60; // pulses after which a page has all that it keeps
const origin = new URL(url).origin;
const DESK = { viewport: { width: 1440, height: 900 } };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const LOOKS = Object.fromEntries(
  Object.entries({ desk: DESK, phone: PHONE }).flatMap(([name, options]) =>
    ["light", "dark"].map((colorScheme) => [`${name}-${colorScheme}`, { ...options, colorScheme }]),
  ),
);
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** The console, with a pulse shown; faults, and requests to anywhere else, fail the scenario. */
async function open(options = DESKTOP, { prepare = () => {}, hash = "" } = {}) {
  const context = await newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.faults = [];
  page.asked = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("console", (line) => line.type() === "error" && page.faults.push(line.text()));
  page.on("request", (request) => {
    page.asked.push(request.url());
    if (!request.url().startsWith(origin)) page.faults.push(`a request to ${request.url()}`);
  });
  await prepare(page);
  await page.goto(url + hash);
  await page.locator("#members tr").first().waitFor();
  return page;
}

const text = (page, selector) => page.locator(selector).innerText();
const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.dataset.id);
const flying = (page) => page.locator('#flights:not([data-flying="0"])').waitFor();
const spots = (page) => page.locator("#ring .spot");

async function look(page, name) {
  await page.fill("#name", name);
  await page.press("#name", "Enter");
}

async function audit(page, what) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(
    (values) => window.axe.run(document, { runOnly: { type: "tag", values } }),
    RULES,
  );
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}\n  ${nodes.map((one) => one.html).join("\n  ")}`);
  assert.deepEqual(told, [], what);
}

async function fits(page) {
  const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(inner <= outer, `nothing sticks out to the side: ${inner} > ${outer}`);
  const [tables, place] = await page.locator(".side").evaluate((side) => [side.scrollWidth, side.clientWidth]);
  assert.ok(tables <= place, `the tables fit: ${tables} > ${place}`);
  const cut = await page.locator("#ring .label").evaluateAll((all) =>
    all.filter((one) => {
      const { left, right, width } = one.getBoundingClientRect();
      return width && (left < 0 || right > innerWidth);
    }).map((one) => one.textContent),
  );
  assert.deepEqual(cut, [], "labels that are cut off");
  const covered = await page.locator("#ring .label:not(.radial)").evaluateAll((all) => {
    const boxes = all.map((one) => [one.textContent, one.getBoundingClientRect()]).filter(([, { width }]) => width);
    const apart = (one, other) =>
      one.right <= other.left || other.right <= one.left || one.bottom - 3 <= other.top || other.bottom - 3 <= one.top;
    return boxes.flatMap(([text, box], at) =>
      boxes.slice(0, at).filter(([, other]) => !apart(box, other)).map(([other]) => `${text} on ${other}`));
  });
  assert.deepEqual(covered, [], "labels that lie on others");
}

/** What the page holds while nothing flies: the least of some looks, as not all goes at once. */
async function held(page, session) {
  const motion = () => page.evaluate(() => document.getElementById("motion").click());
  await motion(); // what flies is taken away
  const looks = [];
  for (let look = 0; look < 5; look += 1) {
    looks.push(await heldBy(session));
    await page.waitForTimeout(200);
  }
  await motion();
  return looks.reduce((least, one) => (one.heap < least.heap ? one : least));
}

const scenarios = {
  async picture() {
    const page = await open();
    assert.equal(await spots(page).count(), given.members);
    assert.equal(await page.locator("#members tr").count(), given.members);
    assert.ok((await page.locator("#ring .piece").count()) >= given.members - 2);
    assert.match(await text(page, "#verdict"), given.members > 9 ? /1 member suspected/ : /all 9 answer/);
    if (given.members > 9) {
      for (const state of ["joining", "leaving", "suspected", "silent"]) {
        assert.equal(await page.locator(`#ring .mark.${state}`).count(), 1, state);
      }
      assert.equal(await page.locator("#members tr[data-state=silent] td", { hasText: "no answer" }).count(), 1);
    }
    await flying(page);
    await page.locator("#publishes li").nth(3).waitFor();
    assert.match(await text(page, "#publishes"), /home [0-9a-f]{8} → (\d|nobody)/);
    assert.match(await text(page, "#totals"), /Sessions\s+[\d.]+k/);
    await page.locator("#channels button").first().click();
    await shows(page, "#detail-kind", "Channel");
    await page.locator("#ring .way").first().waitFor({ state: "attached" });
    assert.equal(await page.locator('#ring .spot[data-part*="home"]').count(), 1);
    const link = page.url();
    assert.match(link, /#name=%2F/);
    const again = await open(DESKTOP, { hash: new URL(link).hash });
    await shows(again, "#detail-title", await text(page, "#detail-title"));
    await fits(page);
    for (const width of [1300, 1180, 1024, 360]) {
      await page.setViewportSize({ width, height: 800 });
      await fits(page);
    }
    assert.equal(await page.locator("#ring .mark[d]").count(), given.members, "drawn anew at once");
    assert.equal(await page.locator('#ring .spot[data-part*="home"]').count(), 1);
  },

  async keyboard() {
    const page = await open();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter"); // the skip link
    assert.equal(await focused(page), "name");
    await page.keyboard.type("/chat/lobby");
    await page.keyboard.press("Enter");
    await shows(page, "#detail-title", "/chat/lobby");
    await page.keyboard.press("Escape");
    await page.locator("#detail").waitFor({ state: "hidden" });
    assert.equal(await focused(page), "name", "the focus goes back");
    await page.focus("#motion");
    await page.keyboard.press("Space");
    assert.equal(await page.getAttribute("#motion", "aria-pressed"), "true");
    assert.equal(await page.getAttribute("#flights", "data-flying"), "0");
    await page.keyboard.press("Tab"); // one stop for the whole ring
    const ids = await spots(page).evaluateAll((all) => all.map((one) => one.dataset.id));
    assert.equal(await focused(page), ids[0]);
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowDown");
    assert.equal(await focused(page), ids[2]);
    await page.keyboard.press("ArrowLeft");
    assert.equal(await focused(page), ids[1]);
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowUp");
    assert.equal(await focused(page), ids.at(-1), "it goes round");
    await page.keyboard.press("ArrowRight");
    assert.equal(await focused(page), ids[0]);
    await page.keyboard.press("End");
    await page.keyboard.press("Enter");
    await shows(page, "#detail-title", ids.at(-1).slice(0, 8));
    assert.equal(await page.locator('#ring .spot[aria-pressed="true"]').getAttribute("data-id"), ids.at(-1));
    assert.match(await text(page, "#said"), /Node [0-9a-f]{8} is shown/);
    await page.waitForTimeout(1_200); // pulses do not take the focus away
    assert.equal(await focused(page), ids.at(-1));
    await page.keyboard.press("Escape");
    assert.equal(await focused(page), ids.at(-1));
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), "name");
  },

  async accessible() {
    for (const name of given.looks) {
      const page = await open(LOOKS[name]);
      const first = name === given.looks[0];
      await page.locator("#publishes li").first().waitFor();
      await page.locator("#motion").click();
      if (first) await audit(page, `${name}: the ring`);
      await page.locator("#members button").nth(2).click();
      await shows(page, "#detail-kind", "Node");
      if (first) await audit(page, `${name}: a node`);
      await look(page, "not a name");
      await shows(page, "#find-error", "Not found: name a channel");
      if (first) await audit(page, `${name}: nothing found`);
      await look(page, "/chat/lobby"); // whose home and a replica are neighbours
      await shows(page, "#detail-kind", "Channel");
      assert.equal(await text(page, "#theatre-topic"), "/chat/lobby");
      await fits(page);
      await look(page, given.address);
      await shows(page, "#detail-kind", "Session");
      await audit(page, `${name}: a session`);
      await fits(page);
      await page.screenshot({ path: join(shots, `${name}.png`) });
      await page.close();
    }
  },

  async calm() {
    const page = await open({ ...DESKTOP, reducedMotion: "reduce" });
    await page.locator("#publishes li").first().waitFor();
    assert.equal(await page.getAttribute("#motion", "aria-pressed"), "true");
    await page.waitForTimeout(600);
    assert.equal(await page.getAttribute("#flights", "data-flying"), "0");
    await page.locator("#motion").click();
    await flying(page);
  },

  async lost() {
    const page = await open();
    await page.route("**/console/feed", (route) => route.abort());
    await page.reload();
    await shows(page, "#verdict", /does not answer|Lost the node/);
    assert.equal(await page.locator("body").getAttribute("data-feed"), "lost");
    await page.unroute("**/console/feed");
    await shows(page, "#verdict", /suspected|Healthy/);
    assert.equal(await page.locator("body").getAttribute("data-feed"), "open");
    page.faults = []; // the browser reports what was refused
  },

  async crowd() {
    const pages = [];
    for (let number = 0; number < 4; number += 1) pages.push(await open());
    const fifth = await (await newContext()).newPage();
    await fifth.goto(url);
    await shows(fifth, "#verdict", "as many consoles as it may");
    await pages[0].close();
    await shows(fifth, "#verdict", /suspected|Healthy/);
  },

  /** As many pulses as `given.pulses`, and what the page holds before and after. */
  async hour() {
    const page = await open(DESKTOP, { prepare: countPulses });
    const session = await watched(page);
    const until = (number) => page.waitForFunction((least) => window.pulses >= least, number, { timeout: 0, polling: 100 });
    await look(page, "/chat/lobby"); // and something that is looked at again and again
    await shows(page, "#detail-title", "/chat/lobby");
    await until(WARM);
    const before = await held(page, session);
    await until(given.pulses);
    const after = await held(page, session);
    console.log(`after ${WARM} pulses ${JSON.stringify(before)}, after ${given.pulses} ${JSON.stringify(after)}`);
    assert.ok(after.heap - before.heap < 400_000, `the heap grew by ${after.heap - before.heap} bytes`);
    assert.ok(after.nodes - before.nodes < 400, `the document grew by ${after.nodes - before.nodes} nodes`);
    assert.ok(after.listeners - before.listeners < 40, "no listeners pile up");
  },

  /** On real nodes: a publish is seen, a session is found by its id, and the id stays a secret. */
  async real() {
    const page = await open();
    const { session, address, channel, client, key, edge } = given;
    await shows(page, "#verdict", "all 3 answer");
    const publish = () =>
      fetch(`${client}/api/publish`, {
        method: "POST",
        headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
        body: JSON.stringify({ channel, data: { text: "<b>hello</b>" } }),
      }).then((answer) => assert.equal(answer.status, 200));
    const item = page.locator("#publishes li", { hasText: channel });
    for (let tries = 0; tries < 20 && !(await item.count()); tries += 1) {
      await publish();
      await page.waitForTimeout(400);
    }
    await item.filter({ hasText: "1 reader on 1 node" }).waitFor();
    await look(page, session);
    await shows(page, "#detail-title", address);
    const facts = await text(page, "#detail-body");
    assert.match(facts, new RegExp(`Edge\\s+${edge.slice(0, 8)}`));
    assert.match(facts, /Connected\s+by long-polling/);
    assert.match(facts, /Channels\s+1 subscription/);
    await page.waitForTimeout(2_500); // it is looked at again
    assert.equal(await page.inputValue("#name"), address);
    const shown = (await page.content()) + page.url() + page.asked.join("\n");
    assert.ok(page.asked.some((one) => one.includes("/console/find")), "the requests were seen");
    assert.ok(!shown.includes(session), "the id is nowhere");
    assert.ok(shown.includes(address));
    await page.screenshot({ path: join(shots, "real.png") });
    await page.locator("#motion").click();
    await audit(page, "three nodes");
    for (const name of given.looks) {
      const other = await open(LOOKS[name], { hash: `#name=${encodeURIComponent(channel)}` });
      await shows(other, "#detail-title", channel);
      await fits(other);
      await other.locator("#motion").click();
      await audit(other, `three nodes, ${name}`);
      await other.close();
    }
  },
};

let playing = "";
try {
  for (playing of process.argv[2].split(",")) {
    const began = Date.now();
    await scenarios[playing]();
    for (const context of browser.contexts()) {
      for (const page of context.pages()) assert.deepEqual(page.faults ?? [], [], page.url());
      await context.close();
    }
    console.log(`${playing}: ${((Date.now() - began) / 1000).toFixed(1)} s`);
  }
} catch (error) {
  console.log(`${playing} failed`);
  for (const [i, page] of browser.contexts().flatMap((context) => context.pages()).entries()) {
    await page.screenshot({ path: join(shots, `failed-${i}.png`) });
    console.log(`page ${i} ${page.url()}\n${await page.locator("body").innerText()}\n`);
  }
  console.log(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
