/**
 * The console of a real node left open, and now and then used, for as long as is wished:
 *
 *   node console_hour.mjs '' '{"urls": [console], "chromium": "…", "minutes": 60, "names": [channel or address, …]}'
 *
 * Once a minute it writes a line of JSON: what the page holds, and how many pulses it has shown.
 */

import assert from "node:assert/strict";
import { countPulses, heldBy, watched } from "./heap.mjs";
import { browser, DESKTOP, newContext, urls } from "./tabs.mjs";

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

/**
 * What somebody does who watches: look at a member, then at something by name. Done within the
 * page, because each of the driver's own clicks leaves some kilobytes in its heap.
 */
async function use(minute) {
  await page.evaluate((turn) => {
    const buttons = document.querySelectorAll("#members button");
    buttons[turn % buttons.length].click();
  }, minute);
  await page.waitForTimeout(MINUTE / 6);
  await page.evaluate((name) => {
    document.getElementById("name").value = name;
    document.getElementById("find").requestSubmit();
  }, names[minute % names.length]);
}

/** The page as it is when nothing flies and nothing is open, so that minutes can be compared. */
async function measured(minute) {
  const [shown, pulses] = await page.evaluate(() => {
    const title = document.getElementById("detail-title").textContent;
    document.getElementById("detail-close").click();
    document.getElementById("motion").click();
    return [title, window.pulses];
  });
  assert.equal(shown, names[minute % names.length]);
  const held = await heldBy(session);
  await page.evaluate(() => document.getElementById("motion").click());
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
