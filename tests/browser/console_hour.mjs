/**
 * The console of a real node left open, and now and then used, for as long as is wished:
 *
 *   node console_hour.mjs '' '{"urls": [console], "chromium": "…", "minutes": 60, "names": [channel or address, …]}'
 *
 * Once a minute it writes a line of JSON: what the page holds, and how many pulses it has shown.
 */

import assert from "node:assert/strict";
import { countPulses, heldBy, watched } from "./heap.mjs";
import { browser, DESKTOP, newContext, shows, urls } from "./tabs.mjs";

const { minutes, names } = JSON.parse(process.argv[3]);
const MINUTE = 60_000;

const page = await (await newContext(DESKTOP)).newPage();
const faults = [];
page.on("pageerror", (error) => faults.push(String(error)));
page.on("console", (line) => line.type() === "error" && faults.push(line.text()));
await countPulses(page);
await page.goto(urls[0]);
await page.locator("#members tr").first().waitFor();
const session = await watched(page);

/** What somebody does who watches: look at a member, then at something by name. */
async function use(minute) {
  const buttons = page.locator("#members button");
  await buttons.nth(minute % (await buttons.count())).click();
  await shows(page, "#detail-kind", "Node");
  await page.waitForTimeout(MINUTE / 6);
  const name = names[minute % names.length];
  await page.fill("#name", name);
  await page.press("#name", "Enter");
  await shows(page, "#detail-title", name);
}

/** The page as it is when nothing flies and nothing is open, so that minutes can be compared. */
async function measured(minute) {
  await page.keyboard.press("Escape");
  await page.locator("#detail").waitFor({ state: "hidden" });
  await page.locator("#motion").click();
  const held = await heldBy(session);
  const pulses = await page.evaluate(() => window.pulses);
  await page.locator("#motion").click();
  console.log(JSON.stringify({ minute, pulses, ...held }));
}

try {
  const began = Date.now();
  for (let minute = 0; minute <= minutes; minute += 1) {
    await use(minute);
    const left = began + (minute + 0.9) * MINUTE - Date.now();
    await page.waitForTimeout(Math.max(0, left));
    await measured(minute);
    await page.waitForTimeout(Math.max(0, began + (minute + 1) * MINUTE - Date.now()));
  }
  assert.deepEqual(faults, []);
} finally {
  await browser.close();
}
