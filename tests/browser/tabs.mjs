/**
 * Chromium, the demo page on the nodes of a ring, and what a person does and sees there.
 */

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const { urls, chromium: executablePath, shots, key } = JSON.parse(process.argv[3]);
const LIMIT = 15_000; // ms for anything to appear
export const DESKTOP = { viewport: { width: 1360, height: 820 } };

export const browser = await chromium.launch({
  executablePath,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});

/** The page on one node, connected; faults of the page fail the scenario. */
export async function visit(context, node, { transport = "WebSocket" } = {}) {
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT);
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("console", (line) => line.type() === "error" && page.faults.push(line.text()));
  await page.goto(urls[node]);
  await connected(page, transport);
  return page;
}

export const newContext = (options = DESKTOP) => browser.newContext(options);
export const connected = (page, transport) => shows(page, "#state", `Connected by ${transport}`);
export const shows = (page, selector, text) =>
  page.locator(selector).filter({ hasText: text }).first().waitFor();
export const count = (page, selector, text) => page.locator(selector).filter({ hasText: text }).count();
export const addressOf = (page) => page.locator("#address").textContent();
export const said = (page, text) => shows(page, "#room-feed .text", text);
export const told = (page, text) => shows(page, "#direct-feed .text", text);

export async function say(page, text) {
  await page.fill("#room-text", text);
  await page.press("#room-text", "Enter");
}

export async function tell(page, address, text) {
  await page.fill("#direct-to", address);
  await page.fill("#direct-text", text);
  await page.press("#direct-text", "Enter");
}

/** Three tabs of one browser, each on another node. */
export async function threeTabs(options) {
  const context = await newContext();
  return Promise.all([0, 1, 2].map((node) => visit(context, node, options)));
}

export async function converse(pages) {
  for (const [node, page] of pages.entries()) await page.fill("#name", `Node ${node}`);
  for (const [node, page] of pages.entries()) {
    const text = `from ${node} at ${Date.now()}`;
    await say(page, text);
    for (const other of pages) await said(other, text);
  }
  const orders = await Promise.all(pages.map((page) => page.locator("#room-feed .text").allTextContents()));
  assert.deepEqual(orders[1].slice(-3), orders[0].slice(-3), "one order on all nodes");
  assert.deepEqual(orders[2].slice(-3), orders[0].slice(-3), "one order on all nodes");
}

export async function whisper(from, to, other) {
  const text = `between us at ${Date.now()}`;
  await tell(from, await addressOf(to), text);
  await told(to, text);
  await told(from, text);
  assert.equal(await count(other, ".text", text), 0, "nobody else sees a direct message");
}
