/**
 * The ring as a dial: every member where its id stands, its slots as pieces of the band, its
 * sessions as a bar outside. Members are buttons: arrows go round, Enter shows one.
 */

import { STATES, stateOf } from "./health.js";
import { BAND, BREADTH, CENTRE, MARKS, piece, point, shape, turnOf } from "./shapes.js";
import { many, percent, put, set, short } from "./words.js";

const BAR = 26; // the longest bar
const LABELLED = 64; // members up to which each has its id beside it
const ROOMY = 16; // members up to which the ids stand upright
const SMALL = matchMedia("(max-width: 560px)"); // as in the style: there is no room for all ids
const LABEL_GAP = 0.0075; // turns between two labels

export class Ring {
  /** @param {SVGElement} svg  @param {(id: string) => void} onPick */
  constructor(svg, onPick) {
    this.svg = svg;
    this.onPick = onPick;
    this.band = shape("g", { class: "band", "aria-hidden": "true" });
    this.ways = shape("g", { class: "ways", "aria-hidden": "true" });
    this.labels = shape("g", { class: "labels", "aria-hidden": "true" }); // what they say, spots say too
    this.spots = shape("g", { class: "spots" });
    svg.append(this.band, this.ways, this.labels, this.spots);
    this.members = new Map(); // id -> {member, turn, spot, form, bar, label, pieces, said}
    this.drawn = null;
    this.told = null; // the last pulse
    this.played = {}; // the parts that members have
    this.focused = "";
    this.picked = "";
    SMALL.addEventListener("change", () => this.#redraw());
    svg.addEventListener("keydown", (event) => this.#key(event));
    svg.addEventListener("click", (event) => {
      const spot = event.target.closest("[data-id]");
      if (spot) this.#pick(spot.dataset.id);
    });
  }

  /** The page has become small or large: all that was there is there again. */
  #redraw() {
    if (!this.drawn) return;
    this.draw(this.drawn);
    this.parts(this.played);
    if (this.told) this.pulse(this.told);
  }

  turn(id) {
    return this.members.get(id)?.turn;
  }

  /** Draw a view of the ring. */
  draw(ring) {
    this.drawn = ring;
    const had = this.spots.contains(document.activeElement) ? this.focused : "";
    this.members.clear();
    this.band.replaceChildren(shape("circle", { class: "orbit", cx: CENTRE, cy: CENTRE, r: BAND }));
    const places = apart(ring.members.map((member) => turnOf(member.id)));
    const spots = ring.members.map((member, at) => this.#member(member, ring, places[at]));
    this.spots.replaceChildren(...spots);
    this.labels.replaceChildren(...[...this.members.values()].map(({ label }) => label));
    this.#pieces(ring);
    const first = ring.members.find((member) => member.id === this.focused) ?? ring.members[0];
    this.#focusable(first?.id ?? "");
    if (had && this.members.has(had)) this.members.get(had).spot.focus();
    this.pick(this.picked);
    this.#spread();
    set(this.svg, "viewBox", ring.members.length <= ROOMY ? "-8 34 656 572" : SMALL.matches ? "50 50 540 540" : "-40 -24 720 688");
    set(this.svg, "aria-label", `Members of the ring: ${ring.members.length}. Arrow keys go round.`);
  }

  #member(member, ring, place) {
    const turn = turnOf(member.id);
    const [x, y] = point(turn, BAND);
    const spot = shape("g", { class: "spot", role: "button", tabindex: -1, "data-id": member.id, "aria-pressed": "false" });
    const mark = shape("g", { transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` });
    const form = shape("path", { class: "mark" });
    mark.append(shape("circle", { class: "reach", r: ring.members.length > 24 ? 14 : 22 }), form);
    if (member.voter) mark.append(shape("circle", { class: member.leader ? "voter leader" : "voter", r: 13 }));
    const bar = shape("line", { class: "bar-of" });
    const label = this.#label(member, place, ring.members.length);
    if (member.id === ring.node) label.classList.add("here");
    spot.append(bar, mark);
    const crowded = ring.members.length > 24;
    if (crowded) form.setAttribute("transform", "scale(0.75)");
    this.members.set(member.id, { member, turn, spot, form, bar, label, pieces: [], said: member.state });
    return spot;
  }

  #label(member, turn, number) {
    const label = shape("text", { class: "label" });
    const [first, rest, part] = ["first", "rest", "part"].map((name) => shape("tspan", { class: name }));
    first.textContent = member.id.slice(0, 4);
    rest.textContent = short(member.id).slice(4);
    label.append(first, rest, part);
    const flip = turn > 0.5;
    if (number > LABELLED) {
      label.setAttribute("class", "label hidden");
    } else if (number > ROOMY) {
      const inside = SMALL.matches; // only the few that are picked or found: there is room for them
      const [x, y] = point(turn, inside ? BAND - BREADTH / 2 - 14 : BAND + BREADTH / 2 + BAR + 12);
      const degrees = turn * 360 - 90 + (flip ? 180 : 0);
      label.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)}) rotate(${degrees.toFixed(1)})`);
      label.setAttribute("class", "label radial");
      label.setAttribute("text-anchor", flip === inside ? "start" : "end");
    } else {
      const [x, y] = point(turn, BAND + BREADTH / 2 + BAR + 10);
      const side = Math.sin(turn * 2 * Math.PI);
      label.setAttribute("x", x.toFixed(1));
      label.dataset.y = (y + 4 - Math.cos(turn * 2 * Math.PI) * 6).toFixed(1);
      set(part, "x", x.toFixed(1));
      set(part, "dy", "1.15em");
      label.setAttribute("y", label.dataset.y);
      label.setAttribute("text-anchor", Math.abs(side) < 0.3 ? "middle" : side > 0 ? "start" : "end");
    }
    return label;
  }

  #pieces(ring) {
    ring.arcs.forEach(([first, index], at) => {
      const end = ring.arcs[at + 1]?.[0] ?? ring.slots;
      const d = piece(first / ring.slots, end / ring.slots);
      const { id } = ring.members[index];
      const drawn = shape("path", { class: index % 2 ? "piece odd" : "piece", d, "data-id": id });
      this.members.get(id)?.pieces.push(drawn);
      this.band.append(drawn);
    });
  }

  /** Show the figures of a second. */
  pulse(pulse) {
    this.told = pulse;
    let most = 0;
    for (const each of Object.values(pulse.members)) most = Math.max(most, each?.sessions ?? 0);
    for (const [id, entry] of this.members) {
      const { member, turn, form, bar } = entry;
      const state = stateOf(member, pulse);
      const figures = pulse.members[id];
      set(form, "class", `mark ${state}`);
      set(form, "d", MARKS[state]);
      const length = most ? Math.sqrt((figures?.sessions ?? 0) / most) * BAR : 0;
      const [x1, y1] = point(turn, BAND + BREADTH / 2 + 4);
      const [x2, y2] = point(turn, BAND + BREADTH / 2 + 4 + length);
      for (const [name, value] of Object.entries({ x1, y1, x2, y2 })) set(bar, name, value.toFixed(1));
      const sessions = figures ? many(figures.sessions, "session") : "unknown load";
      const role = member.leader ? ", leads the voters" : member.voter ? ", voter" : "";
      entry.said = `${STATES[state]}, ${percent(member.share)} of slots, ${sessions}${role}`;
      this.#name(id, entry);
    }
  }

  /** What a member is called. */
  #name(id, { spot, said }) {
    const { part } = spot.dataset;
    set(spot, "aria-label", `Node ${short(id)}${part ? ` ${part}` : ""}, ${said}`);
  }

  /** Mark one member, or none (""). */
  pick(id) {
    this.picked = id;
    for (const [other, { spot, label, pieces }] of this.members) {
      const on = other === id;
      set(spot, "aria-pressed", on);
      spot.classList.toggle("picked", on);
      label.classList.toggle("picked", on);
      for (const each of pieces) each.classList.toggle("picked", on);
    }
  }

  /** Mark members by the part that they play for what was found: {id: "home" | "replica" | "edge"}. */
  parts(parts) {
    this.played = parts;
    for (const [id, entry] of this.members) {
      const { spot, label } = entry;
      const text = parts[id] ?? "";
      spot.dataset.part = label.dataset.part = text;
      put(label.lastElementChild, text && label.classList.contains("radial") ? ` ${text}` : text);
      this.#name(id, entry);
    }
    this.#spread();
  }

  /** Let no label beside the ring lie on another: they give way to the top and to the bottom. */
  #spread() {
    const line = SMALL.matches ? 20 : 15;
    for (const anchor of ["start", "end"]) {
      const side = [...this.members.values()].map(({ label }) => label)
        .filter((label) => label.dataset.y && label.getAttribute("text-anchor") === anchor)
        .map((label) => ({ label, y: Number(label.dataset.y), height: line * (label.dataset.part ? 2 : 1) }))
        .sort((one, other) => one.y - other.y);
      const lower = side.filter(({ y }) => y >= CENTRE);
      let free = lower[0]?.y ?? Infinity;
      for (const each of side.filter(({ y }) => y < CENTRE).reverse()) {
        free = Math.min(each.y, free - each.height);
        set(each.label, "y", free.toFixed(1));
      }
      free = -Infinity;
      for (const each of lower) {
        const y = Math.max(each.y, free);
        free = y + each.height;
        set(each.label, "y", y.toFixed(1));
      }
    }
  }

  focus(id) {
    this.members.get(id)?.spot.focus();
  }

  #pick(id) {
    this.#focusable(id);
    this.onPick(id);
  }

  #focusable(id) {
    for (const [other, { spot }] of this.members) set(spot, "tabindex", other === id ? 0 : -1);
    this.focused = id;
  }

  #key(event) {
    const ids = [...this.members.keys()];
    const at = ids.indexOf(this.focused);
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    let to = null;
    if (event.key in steps) to = ids.at((at + steps[event.key]) % ids.length);
    else if (event.key === "Home") to = ids[0];
    else if (event.key === "End") to = ids.at(-1);
    else if (event.key === "Enter" || event.key === " ") this.#pick(this.focused);
    else return;
    event.preventDefault();
    if (to) {
      this.#focusable(to);
      this.members.get(to).spot.focus();
    }
  }
}

/** Turns (ascending) moved until labels at them do not overlap, where there is room for that. */
function apart(turns) {
  const moved = [...turns];
  const gap = Math.min(LABEL_GAP, 0.9 / moved.length);
  for (let round = 0; round < 12; round += 1) {
    for (let at = 0; at + 1 < moved.length; at += 1) {
      const lack = gap - (moved[at + 1] - moved[at]);
      if (lack > 0) {
        moved[at] -= lack / 2;
        moved[at + 1] += lack / 2;
      }
    }
  }
  return moved;
}
