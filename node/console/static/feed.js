/** The live feed of the node: server-sent events, and what is to be said when they stay away. */

const AGAIN = 4_000; // ms until a refused feed is asked for again
export const LATE = 4_000; // ms without a pulse after which what is shown is old

export class Feed {
  /** @param {{ring: Function, pulse: Function, state: Function}} told */
  constructor(told) {
    this.told = told;
    this.#open();
  }

  #open() {
    const source = new EventSource("/console/feed");
    source.addEventListener("ring", (event) => this.told.ring(JSON.parse(event.data)));
    source.addEventListener("pulse", (event) => this.told.pulse(JSON.parse(event.data)));
    source.onopen = () => this.told.state("open", "");
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) {
        source.close();
        this.#refused();
      } else {
        this.told.state("lost", "Lost the node; trying again");
      }
    };
  }

  /** An event source does not tell why: ask once more in a way that does. */
  async #refused() {
    let reason = "The node does not answer; trying again";
    try {
      const answer = await fetch("/console/feed", { method: "HEAD" });
      if (answer.status === 503) reason = "This node serves as many consoles as it may; trying again";
    } catch {
      // It does not answer, as is said already.
    }
    this.told.state("lost", reason);
    setTimeout(() => this.#open(), AGAIN);
  }
}
