/** The lists beside the ring: totals, busiest channels, latest publishes, members. */

import { STATES, stateOf } from "./health.js";
import { History, VIEW } from "./history.js";
import { count, keyed, made, many, percent, put, rate, seconds, set, short } from "./words.js";
import { shape } from "./shapes.js";

const KEPT = 8; // latest publishes

/** Sums over all members that have answered. */
export function sums(pulse) {
  const total = { sessions: 0, published: 0, delivered: 0, lag: 0, memory: 0 };
  for (const each of Object.values(pulse.members)) {
    if (!each) continue;
    for (const name of ["sessions", "published", "delivered", "memory"]) total[name] += each[name];
    total.lag = Math.max(total.lag, each.lag);
  }
  return total;
}

const tenth = (number) => Math.round(number * 10) / 10;

export class Totals {
  constructor(list) {
    this.shown = {};
    for (const [name, title] of [
      ["sessions", "Sessions"], ["published", "Published"], ["delivered", "Delivered"], ["lag", "Worst lag"],
    ]) {
      const value = made("dd", {}, "–");
      const item = made("div", {}, made("dt", {}, title), value);
      if (name === "published" || name === "delivered") {
        const line = shape("polyline");
        const chart = shape("svg", { viewBox: VIEW, preserveAspectRatio: "none", "aria-hidden": "true", class: "trend" });
        chart.append(line);
        item.append(chart);
        this.shown[name] = { value, line, history: new History() };
      } else {
        this.shown[name] = { value };
      }
      list.append(item);
    }
  }

  pulse(pulse) {
    const total = sums(pulse);
    const words = {
      sessions: count(total.sessions),
      published: rate(tenth(total.published)),
      delivered: rate(tenth(total.delivered)),
      lag: seconds(total.lag),
    };
    for (const [name, { value, line, history }] of Object.entries(this.shown)) {
      put(value, words[name]);
      if (!history) continue;
      history.add(total[name]);
      set(line, "points", history.points());
    }
  }
}

/** A row with a button in its head and as many further cells as there are classes. */
function row(classes) {
  const button = made("button", { type: "button", class: "link mono", "aria-pressed": "false" });
  const cells = classes.map((name) => made("td", { class: name }));
  return made("tr", {}, made("th", { scope: "row" }, button), ...cells);
}

function fill(line, name, texts) {
  put(line.firstElementChild.firstElementChild, name);
  texts.forEach((text, place) => put(line.children[place + 1], text));
}

export class Channels {
  constructor(body, none, onPick) {
    this.body = body;
    this.none = none;
    body.addEventListener("click", (event) => {
      const picked = event.target.closest("button");
      if (picked) onPick(picked.textContent);
    });
  }

  pulse(pulse) {
    this.none.hidden = pulse.channels.length > 0;
    this.body.parentElement.hidden = !this.none.hidden;
    keyed(
      this.body,
      pulse.channels,
      (channel) => channel.name,
      () => row(["number", "number", "number"]),
      (line, { name, published, due, readers }) =>
        fill(line, name, [rate(tenth(published)), rate(tenth(due)), count(readers)]),
    );
  }

  pick(name) {
    for (const button of this.body.querySelectorAll("button")) set(button, "aria-pressed", button.textContent === name);
  }
}

export class Members {
  constructor(body, onPick) {
    this.body = body;
    this.picked = "";
    this.ring = null;
    body.addEventListener("click", (event) => {
      const picked = event.target.closest("button");
      if (picked) onPick(picked.closest("tr").dataset.key);
    });
  }

  draw(ring) {
    this.ring = ring;
  }

  pulse(pulse) {
    keyed(
      this.body,
      this.ring.members,
      (member) => member.id,
      () => row(["", "number", "number", "number", "number spare"]),
      (line, member) => {
        const state = stateOf(member, pulse);
        const its = pulse.members[member.id];
        set(line, "data-state", state);
        set(line.firstElementChild.firstElementChild, "aria-pressed", member.id === this.picked);
        fill(line, short(member.id), [
          STATES[state] + (member.leader ? ", leads" : member.voter ? ", voter" : ""),
          percent(member.share),
          its ? count(its.sessions) : "–",
          its ? rate(tenth(its.delivered)) : "–",
          its ? seconds(its.lag) : "–",
        ]);
      },
    );
  }

  pick(id) {
    this.picked = id;
    for (const line of this.body.children) {
      set(line.firstElementChild.firstElementChild, "aria-pressed", line.dataset.key === id);
    }
  }
}

/** The latest publishes that were drawn, each with where it went. */
export class Publishes {
  constructor(list, none, onPick) {
    this.list = list;
    this.none = none;
    this.latest = [];
    this.number = 0;
    list.addEventListener("click", (event) => {
      const picked = event.target.closest("button");
      if (picked) onPick(picked.textContent);
    });
  }

  add(publish, tree) {
    this.none.hidden = true;
    const known = this.latest.find((one) => one.topic === publish.topic && one.by === publish.by);
    const text = journey(publish, tree);
    if (known) Object.assign(known, { text, times: known.times + publish.times });
    else this.latest.unshift({ key: String((this.number += 1)), topic: publish.topic, by: publish.by, text, times: publish.times });
    this.latest.length = Math.min(this.latest.length, KEPT);
    keyed(
      this.list,
      this.latest,
      (one) => one.key,
      () => {
        const button = made("button", { type: "button", class: "link mono" });
        return made("li", {}, button, made("span", { class: "hint" }), made("span", { class: "times" }));
      },
      (item, one) => {
        put(item.children[0], one.topic);
        put(item.children[1], one.text);
        put(item.children[2], `×${count(one.times)}`);
      },
    );
  }
}

/** By whom it was accepted, who is home, and whom it reaches. */
export function journey(publish, tree) {
  const readers = tree.twigs.reduce((sum, twig) => sum + twig.readers, 0);
  const nodes = tree.twigs.filter((twig) => twig.readers).length;
  const first = publish.by === tree.home ? `home ${short(tree.home)}` : `${short(publish.by)} → home ${short(tree.home)}`;
  const last = readers ? `${many(readers, "reader")} on ${many(nodes, "node")}` : "nobody reads it";
  return `${first} → ${last}`;
}
