/**
 * A form with one text box: Enter sends, a refusal gives the text back and says why.
 */

const WORDS = {
  400: "The server could not read that.",
  402: "Your session has ended; a new one is being opened.",
  403: "The server does not allow that.",
  404: "There is no session with that address.",
  405: "That name is not valid.",
  413: "That is too large.",
  429: "Too fast: wait a moment.",
  503: "That is not possible just now. Try again.",
};

/** One sentence for a person; the protocol's own words follow in brackets. */
export function explain(error) {
  if (!error.code) return `No answer from the server (${error.message}).`;
  return `${WORDS[error.code] ?? "The server refused."} (${error.code} ${error.message})`;
}

/** Show `words` in the alert line `line`, or hide it when there are none. */
export function complain(line, words = "") {
  line.textContent = words;
  line.hidden = !words;
}

export class Composer {
  /** @param {string} prefix of the ids of form, text and error  @param send (text) => Promise */
  constructor(prefix, send) {
    this.form = document.getElementById(`${prefix}-form`);
    this.box = document.getElementById(`${prefix}-text`);
    this.error = document.getElementById(`${prefix}-error`);
    this.send = send;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.form.requestSubmit();
    });
    this.box.addEventListener("input", () => this.#fit());
  }

  focus() {
    this.box.focus();
  }

  async #submit() {
    const words = this.box.value.trim();
    if (!words) return;
    this.box.value = "";
    this.#fit();
    complain(this.error);
    try {
      await this.send(words);
    } catch (error) {
      complain(this.error, `Not sent. ${explain(error)}`);
      if (!this.box.value) this.box.value = words;
      this.#fit();
    }
  }

  #fit() {
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight + 2}px`;
  }
}
