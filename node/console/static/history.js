/** The last two minutes of a number, in a fixed place, and the line that it draws. */

export const KEPT = 120;
const WIDTH = 120;
const HEIGHT = 28;
const START = 20; // values over which the line is spread at first

export class History {
  constructor() {
    this.values = new Float32Array(KEPT);
    this.next = 0;
    this.filled = 0;
  }

  add(value) {
    this.values[this.next] = value;
    this.next = (this.next + 1) % KEPT;
    this.filled = Math.min(KEPT, this.filled + 1);
  }

  /** The points of a polyline, the newest at the right. */
  points() {
    let most = 0;
    for (const value of this.values) most = Math.max(most, value);
    const points = [];
    for (let back = this.filled - 1; back >= 0; back -= 1) {
      const value = this.values[(this.next - 1 - back + 2 * KEPT) % KEPT];
      const y = most ? HEIGHT - 2 - (value / most) * (HEIGHT - 4) : HEIGHT - 2;
      points.push(`${(WIDTH - back * (WIDTH / (Math.max(this.filled, START) - 1))).toFixed(1)},${y.toFixed(1)}`);
    }
    return points.join(" ");
  }
}

/** One history for each of the ids that are there; those of others are forgotten. */
export class Histories {
  constructor() {
    this.of = new Map();
  }

  add(values) {
    for (const id of this.of.keys()) if (!(id in values)) this.of.delete(id);
    for (const [id, value] of Object.entries(values)) {
      if (!this.of.has(id)) this.of.set(id, new History());
      this.of.get(id).add(value);
    }
  }
}

export const VIEW = `0 0 ${WIDTH} ${HEIGHT}`;
