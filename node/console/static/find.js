/** The search: a channel, an address, or a session's id, which is sent and then forgotten. */

const AGAIN = 2_000; // ms between two looks at what was found
const ID = /^[A-Za-z0-9_-]{1,32}\.[A-Za-z0-9_-]{22}$/;

export class Find {
  /** @param {{form, input, error}} parts  @param {(found) => void} onFound */
  constructor(parts, onFound) {
    this.parts = parts;
    this.onFound = onFound;
    this.name = ""; // what is looked at again and again
    this.timer = 0;
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.look(parts.input.value.trim());
    });
  }

  /** Look for `name` now, and go on until `stop`. */
  async look(name) {
    this.stop();
    const found = await this.#ask(name);
    if (!found) return;
    if (ID.test(name)) this.parts.input.value = found.name; // a secret does not stay on the screen
    this.name = found.name;
    this.onFound(found, true);
    this.#later();
  }

  stop() {
    clearTimeout(this.timer);
    this.name = "";
  }

  #later() {
    const name = this.name;
    this.timer = setTimeout(async () => {
      const found = document.hidden ? null : await this.#ask(name);
      if (this.name !== name) return;
      if (found) this.onFound(found, false);
      this.#later();
    }, AGAIN);
  }

  async #ask(name) {
    let trouble = "The node does not answer.";
    try {
      const answer = ID.test(name)
        ? await fetch("/console/find", { headers: { "X-Session": name } })
        : await fetch(`/console/find?name=${encodeURIComponent(name)}`);
      const told = await answer.json();
      if (answer.ok) {
        this.parts.error.hidden = true;
        return told;
      }
      trouble = `Not found: ${told.error.message}.`;
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
    }
    this.parts.error.textContent = trouble;
    this.parts.error.hidden = false;
    return null;
  }
}
