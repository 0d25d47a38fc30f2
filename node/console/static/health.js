/** The state of the ring in a few words; the worst that is true comes first. */

import { many } from "./words.js";

const good = (text) => ({ state: "good", text });
const busy = (text) => ({ state: "busy", text });
const bad = (text) => ({ state: "bad", text });

export function verdict(ring, pulse) {
  if (!ring.view) return busy("No ring yet: the node waits for others");
  const told = Object.values(pulse.members).filter(Boolean);
  const silent = Object.values(pulse.members).length - told.length;
  const elsewhere = new Set([
    ...pulse.behind,
    ...Object.entries(pulse.members).filter(([, it]) => it && it.view !== pulse.view).map(([id]) => id),
  ]).size;
  const suspected = Object.keys(pulse.suspected).length;
  if (pulse.foreign) return bad("Two rings: another one was met, and they never merge");
  if (pulse.frozen || told.some((one) => one.frozen)) return bad("Frozen: no majority of voters answers");
  if (suspected) return busy(`${many(suspected, "member")} suspected`);
  if (silent) return busy(`${many(silent, "member")} did not answer`);
  if (elsewhere) return busy(`Views differ: ${many(elsewhere, "member")} on another`);
  if (pulse.draining) return busy("This node is leaving the ring");
  const changing = ring.members.filter((one) => one.state !== "active").length;
  if (changing) return busy(`${many(changing, "member")} on the way in or out`);
  if (pulse.asked < ring.members.length) return good(`Healthy, by ${pulse.asked} of ${ring.members.length} members`);
  return good(ring.members.length === 1 ? "Healthy: a ring of one" : `Healthy: one view, all ${ring.members.length} answer`);
}

/** What a member is shown as: its state in the view, unless something is the matter. */
export function stateOf(member, pulse) {
  if (pulse && pulse.suspected[member.id]) return "suspected";
  if (pulse && member.id in pulse.members && !pulse.members[member.id]) return "silent";
  return member.state;
}

export const STATES = {
  active: "active",
  joining: "joining",
  leaving: "leaving",
  suspected: "suspected",
  silent: "no answer",
};
