/**
 * Publishes on their way: from the node that accepted one to the home of its topic, and from
 * there down the tree, each link as long as any other. All that flies is counted and ends.
 *
 * Comets are drawn on a canvas under the ring, so that the ring itself is painted only when it
 * changes; nothing is drawn while nothing flies.
 */

import { BAND, along, point, shape, way } from "./shapes.js";

const LEG = 640; // ms for one link
const GLOW = 700; // ms that a halo takes
const TAIL = 0.24; // of the way, the length of a comet
const STEPS = 5; // pieces that a comet's curve is drawn of
const FRAME = 30; // ms between two frames, at least
const SPREAD = 900; // ms over which the publishes of a pulse are spread
const AT_ONCE = 160; // comets and halos in the air
const DRAWN = 5; // publishes of one pulse

export class Flights {
  /**
   * @param {import("./ring.js").Ring} ring  @param {HTMLCanvasElement} canvas under it
   * @param {(publish, tree) => void} onStart
   */
  constructor(ring, canvas, onStart) {
    this.ring = ring;
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.onStart = onStart;
    this.flying = []; // {draw(part), from, lasts, then}
    this.frame = 0;
    this.drawnAt = 0;
    this.still = false;
    this.round = 0; // what was to start in one of before does not
    canvas.dataset.flying = 0;
  }

  /** Stop all motion, or allow it again. */
  hold(still) {
    this.still = still;
    if (still) this.clear();
  }

  clear() {
    this.round += 1;
    this.flying.length = 0;
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.#wipe();
  }

  /** Draw the publishes of a pulse, as many as can be followed; `only`: of this topic alone. */
  pulse(pulse, only) {
    if (document.hidden) return; // a page that is not shown has no frames
    const trees = new Map(pulse.trees.map((tree) => [tree.topic, tree]));
    const shown = pulse.publishes
      .filter((publish) => trees.has(publish.topic) && (!only || publish.topic === only))
      .slice(0, DRAWN);
    if (this.still) {
      const last = shown.at(-1);
      if (last) this.onStart(last, trees.get(last.topic));
      return;
    }
    const round = this.round;
    shown.forEach((publish, place) => {
      const start = () => round === this.round && this.#publish(publish, trees.get(publish.topic));
      setTimeout(start, (place * SPREAD) / shown.length);
    });
  }

  #publish(publish, tree) {
    if (this.still || document.hidden) return;
    this.onStart(publish, tree);
    const look = {
      colour: publish.topic.startsWith("/") ? "--accent" : "--direct",
      weight: 1.8 + Math.min(1.6, Math.log10(publish.times)),
    };
    const down = () => this.#descend(tree, look);
    if (publish.by === tree.home) {
      this.#land(tree.home, look, 1);
      down();
    } else {
      this.#fly(publish.by, tree.home, look, 0.6, down);
    }
  }

  /** From the home to all, level by level. */
  #descend(tree, look) {
    const children = new Map();
    for (const twig of tree.twigs) {
      if (!twig.parent) continue;
      if (!children.has(twig.parent)) children.set(twig.parent, []);
      children.get(twig.parent).push(twig);
    }
    const seen = new Set([tree.home]); // a tree that is just being changed may seem to have a loop
    const level = (parent) => {
      for (const twig of children.get(parent) ?? []) {
        if (seen.has(twig.node)) continue;
        seen.add(twig.node);
        this.#fly(parent, twig.node, look, 1, () => {
          if (twig.readers) this.#land(twig.node, look, Math.log10(twig.readers + 1) + 1);
          level(twig.node);
        });
      }
    };
    level(tree.home);
  }

  // -- what flies --------------------------------------------------------------------------

  #fly(from, to, look, strength, then) {
    const [start, end] = [this.ring.turn(from), this.ring.turn(to)];
    if (start === undefined || end === undefined) return;
    const at = along(start, end);
    const draw = (part) => {
      const head = part * (1 + TAIL);
      const places = Array.from({ length: STEPS + 1 }, (_, step) =>
        at(Math.min(1, Math.max(0, head - TAIL + (TAIL * step) / STEPS))),
      );
      this.pen.lineWidth = look.weight;
      for (let step = 1; step <= STEPS; step += 1) {
        this.pen.globalAlpha = (strength * step) / STEPS; // the tail fades
        this.pen.beginPath();
        this.pen.moveTo(...places[step - 1]);
        this.pen.lineTo(...places[step]);
        this.#stroke(look);
      }
    };
    this.#start({ draw, lasts: LEG, then });
  }

  #land(node, look, size) {
    const turn = this.ring.turn(node);
    if (turn === undefined) return;
    const [x, y] = point(turn, BAND);
    const most = 14 + 6 * Math.min(size, 4);
    const draw = (part) => {
      this.pen.globalAlpha = 0.9 * (1 - part);
      this.pen.lineWidth = 2.5;
      this.pen.beginPath();
      this.pen.arc(x, y, 9 + (most - 9) * part, 0, 2 * Math.PI);
      this.#stroke(look);
    };
    this.#start({ draw, lasts: GLOW });
  }

  #stroke(look) {
    this.pen.strokeStyle = this.colours[look.colour];
    this.pen.stroke();
  }

  #start(flight) {
    if (this.flying.length >= AT_ONCE) return;
    this.flying.push({ ...flight, from: performance.now() });
    if (!this.frame) {
      const style = getComputedStyle(this.canvas);
      this.colours = Object.fromEntries(["--accent", "--direct"].map((name) => [name, style.getPropertyValue(name)]));
      this.frame = requestAnimationFrame((now) => this.#draw(now));
    }
  }

  #draw(now) {
    this.frame = this.flying.length ? requestAnimationFrame((next) => this.#draw(next)) : 0;
    if (this.frame && now - this.drawnAt < FRAME) return;
    this.drawnAt = now;
    this.#wipe();
    const ended = [];
    this.flying = this.flying.filter((flight) => {
      const part = (now - flight.from) / flight.lasts;
      if (part < 1) flight.draw(easy(Math.max(0, part)));
      else ended.push(flight);
      return part < 1;
    });
    for (const { then } of ended) then?.();
  }

  /** Empty the canvas, which is as large as its place and as fine as the screen. */
  #wipe() {
    const { canvas, pen } = this;
    const box = canvas.getBoundingClientRect();
    const fine = Math.min(2, devicePixelRatio);
    const [width, height] = [Math.round(box.width * fine), Math.round(box.height * fine)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    pen.resetTransform();
    pen.clearRect(0, 0, width, height);
    const dial = this.ring.svg.getScreenCTM();
    if (!dial) return;
    pen.setTransform(dial.a * fine, 0, 0, dial.d * fine, (dial.e - box.left) * fine, (dial.f - box.top) * fine);
    pen.lineCap = "butt"; // round ends would show where pieces of a tail meet
    canvas.dataset.flying = this.flying.length;
  }

  /** Lines for a tree that is to stay in sight; none without one. */
  lines(tree) {
    const drawn = [];
    for (const twig of tree?.twigs ?? []) {
      const [start, end] = [this.ring.turn(twig.parent), this.ring.turn(twig.node)];
      if (start !== undefined && end !== undefined) drawn.push(shape("path", { class: "way", d: way(start, end) }));
    }
    this.ring.ways.replaceChildren(...drawn);
  }
}

/** Slow at both ends. */
const easy = (part) => part * part * (3 - 2 * part);
