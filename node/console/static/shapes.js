/** The geometry of the dial: where an id stands, arcs of slots, ways between members. */

const SVG = "http://www.w3.org/2000/svg";
export const CENTRE = 320;
export const BAND = 216; // radius of the middle of the band of slots
export const BREADTH = 14; // of the band
const BEND = 0.42; // how far ways between members are pulled to the middle

export function shape(name, attributes = {}) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Where an id stands, in turns from the top: its first 32 bits. */
export const turnOf = (id) => parseInt(id.slice(0, 8), 16) / 2 ** 32;

export function point(turn, radius) {
  const angle = (turn - 0.25) * 2 * Math.PI;
  return [CENTRE + radius * Math.cos(angle), CENTRE + radius * Math.sin(angle)];
}

const text = ([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`;

/** A piece of the band, from one turn to another. */
export function piece(from, to) {
  const [outer, inner] = [BAND + BREADTH / 2, BAND - BREADTH / 2];
  if (to - from >= 0.9999) {
    const half = (from + to) / 2;
    return piece(from, half) + piece(half, to - 1e-5);
  }
  const large = to - from > 0.5 ? 1 : 0;
  return (
    `M${text(point(from, outer))}A${outer} ${outer} 0 ${large} 1 ${text(point(to, outer))}` +
    `L${text(point(to, inner))}A${inner} ${inner} 0 ${large} 0 ${text(point(from, inner))}Z`
  );
}

/** Start, bend and end of the way from one member to another, inside the ring. */
function curve(from, to) {
  const radius = BAND - BREADTH / 2 - 8;
  const [start, end] = [point(from, radius), point(to, radius)];
  const middle = [0, 1].map((axis) => {
    const between = (start[axis] + end[axis]) / 2;
    return between + (CENTRE - between) * BEND;
  });
  return [start, middle, end];
}

/** That way as a path. */
export function way(from, to) {
  const [start, middle, end] = curve(from, to);
  return `M${text(start)}Q${text(middle)} ${text(end)}`;
}

/** Where one is on that way, after a part of it. */
export function along(from, to) {
  const [start, middle, end] = curve(from, to);
  return (part) =>
    [0, 1].map(
      (axis) => (1 - part) ** 2 * start[axis] + 2 * part * (1 - part) * middle[axis] + part ** 2 * end[axis],
    );
}

/** The mark of a member: its form says what is the matter, not its colour alone. */
export const MARKS = {
  active: "M-8 0a8 8 0 1 0 16 0a8 8 0 1 0 -16 0",
  joining: "M-8 0a8 8 0 1 0 16 0a8 8 0 1 0 -16 0",
  leaving: "M-7 -7h14v14h-14z",
  suspected: "M0 -10l10 17h-20z",
  silent: "M-7 -7l14 14M7 -7l-14 14",
};
