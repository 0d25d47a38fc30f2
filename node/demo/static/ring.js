/**
 * The picture of the ring: its nodes on a dial, oneself among them, and a comet for every
 * message that comes from another node to this one.
 */

const SVG = "http://www.w3.org/2000/svg";
const CENTRE = 120;
const RADIUS = 92;
const TICKS = 96;
const FLIGHT = 900; // ms that a comet takes

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function point(turn, radius) {
  const angle = (turn - 0.25) * 2 * Math.PI;
  return [CENTRE + radius * Math.cos(angle), CENTRE + radius * Math.sin(angle)];
}

export class Ring {
  /** @param {SVGElement} picture  @param {HTMLElement} list of links to the nodes */
  constructor(picture, list) {
    this.picture = picture;
    this.list = list;
    this.turns = new Map(); // host -> where on the dial, in turns from the top
    this.show([]);
  }

  /**
   * @param {string[]} nodes where they are reached, as HOST:PORT or URL
   * @param {string} here HOST:PORT of the one that this page is on
   */
  show(nodes, here = location.host) {
    this.here = hostOf(here) ?? location.host;
    const hosts = [...new Set([...nodes.map(hostOf).filter(Boolean), this.here])];
    hosts.sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    this.turns = new Map(hosts.map((host, i) => [host, i / hosts.length]));
    this.#draw();
    this.list.replaceChildren(...hosts.filter((host) => host !== this.here).map(linkTo));
    this.list.hidden = hosts.length < 2;
    const others = hosts.length - 1;
    const label = `A ring of ${hosts.length} node${others ? "s" : ""}; you are on ${this.here}`;
    this.picture.setAttribute("aria-label", label);
  }

  /** A message came from the node at `host` (from here, where that is not known). */
  spark(host) {
    const here = this.turns.get(this.here);
    const there = this.turns.get(hostOf(host)) ?? here;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const [cx, cy] = point(here, RADIUS);
    const halo = shape("circle", { class: "halo", cx, cy, r: 9 });
    const flight = there === here ? null : this.#flight(there, here);
    this.picture.append(halo);
    const delay = flight ? FLIGHT * 0.6 : 0;
    const grow = [{ opacity: 0.9, r: "9px" }, { opacity: 0, r: "26px" }];
    halo.animate(grow, { duration: 700, delay, easing: "ease-out", fill: "both" }).onfinish = () =>
      halo.remove();
  }

  /** Along the shorter way round. */
  #flight(from, to) {
    const clockwise = (to - from + 1) % 1 <= 0.5 ? 1 : 0;
    const arc = `A${RADIUS} ${RADIUS} 0 0 ${clockwise}`;
    const d = `M${point(from, RADIUS).join(" ")}${arc} ${point(to, RADIUS).join(" ")}`;
    const path = shape("path", { class: "flight", d, pathLength: 100 });
    this.picture.append(path);
    const travel = [{ strokeDashoffset: 30 }, { strokeDashoffset: -100 }];
    path.animate(travel, { duration: FLIGHT, easing: "ease-in-out" }).onfinish = () => path.remove();
    return path;
  }

  #draw() {
    this.picture.replaceChildren();
    for (let tick = 0; tick < TICKS; tick += 1) {
      const long = tick % 8 === 0;
      const [x1, y1] = point(tick / TICKS, RADIUS + 12);
      const [x2, y2] = point(tick / TICKS, RADIUS + (long ? 20 : 16));
      this.picture.append(shape("line", { class: "tick", x1, y1, x2, y2 }));
    }
    this.picture.append(shape("circle", { class: "orbit", cx: CENTRE, cy: CENTRE, r: RADIUS }));
    for (const [host, turn] of this.turns) {
      const mine = host === this.here;
      const [cx, cy] = point(turn, RADIUS);
      this.picture.append(shape("circle", { class: mine ? "dot here" : "dot", cx, cy, r: mine ? 9 : 6 }));
    }
  }
}

/** HOST:PORT of a node; the loopback's names are one, and what is no address is null. */
function hostOf(node) {
  try {
    const url = new URL(node.includes("//") ? node : `//${node}`, location.href);
    if (/^(localhost|\[::1\])$/.test(url.hostname)) url.hostname = "127.0.0.1";
    return url.protocol === location.protocol ? url.host : null;
  } catch {
    return null;
  }
}

function linkTo(host) {
  const link = document.createElement("a");
  link.href = `${location.protocol}//${host}/`;
  link.target = "_blank";
  link.rel = "noopener";
  link.textContent = host;
  const item = document.createElement("li");
  item.append(link);
  return item;
}
