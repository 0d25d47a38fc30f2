/** How a page does over time: the pulses it was sent, and what it holds when nothing else is left. */

/** From here on `window.pulses` counts them. */
export const countPulses = (page) =>
  page.addInitScript(() => {
    window.pulses = 0;
    const listen = EventSource.prototype.addEventListener;
    EventSource.prototype.addEventListener = function (name, heard) {
      if (name === "pulse") listen.call(this, name, () => (window.pulses += 1));
      listen.call(this, name, heard);
    };
  });

/** A session with the page's devtools, for `heldBy`. */
export async function watched(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  return session;
}

/** Bytes of JavaScript heap, and nodes and listeners of the document, after a collection. */
export async function heldBy(session) {
  await session.send("HeapProfiler.collectGarbage");
  await session.send("HeapProfiler.collectGarbage");
  const { metrics } = await session.send("Performance.getMetrics");
  const of = Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  return { heap: of.JSHeapUsedSize, nodes: of.Nodes, listeners: of.JSEventListeners };
}
