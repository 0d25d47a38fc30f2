/** What is known of the one member, channel or session that was picked. */

import { STATES, stateOf } from "./health.js";
import { Histories, VIEW } from "./history.js";
import { shape } from "./shapes.js";
import { bytes, count, keyed, made, many, percent, put, rate, seconds, set, short } from "./words.js";

const tenth = (number) => Math.round(number * 10) / 10;

export class Detail {
  /** @param {{card, kind, title, body}} parts  @param {(id: string) => void} onNode */
  constructor(parts, onNode) {
    this.parts = parts;
    this.histories = new Histories();
    this.facts = made("dl", { class: "facts" });
    this.chart = shape("svg", { viewBox: VIEW, preserveAspectRatio: "none", class: "trend", role: "img" });
    this.line = shape("polyline");
    this.chart.append(this.line);
    parts.body.append(this.chart, this.facts);
    this.facts.addEventListener("click", (event) => {
      const node = event.target.closest("[data-node]");
      if (node) onNode(node.dataset.node);
    });
  }

  close() {
    this.parts.card.hidden = true;
  }

  remember(pulse) {
    const delivered = {};
    for (const [id, its] of Object.entries(pulse.members)) delivered[id] = its?.delivered ?? 0;
    this.histories.add(delivered);
  }

  member(member, pulse, here) {
    const its = pulse.members[member.id];
    const by = pulse.suspected[member.id];
    const rtt = pulse.rtt[member.id];
    const of = [
      ["State", STATES[stateOf(member, pulse)] + (by ? `, by ${by.map(short).join(", ")}` : "")],
      ["Id", member.id],
      ["Clients", member.client],
      ["Peers", member.peer + (rtt ? `, ${seconds(rtt)} away` : "")],
      ["Zone", member.zone || "none"],
      ["Slots", `${percent(member.share)} of all${its ? `, ${count(its.slots)} open` : ""}`],
      ["Voting", member.leader ? "leads the voters" : member.voter ? "voter" : "no voter"],
      ["Incarnation", String(member.incarnation)],
      ...(its ? figures(its, pulse) : [["Figures", "it did not answer in the last second"]]),
    ];
    this.#show(member.id === here ? "Node, this console's" : "Node", short(member.id), of);
    const history = this.histories.of.get(member.id);
    this.chart.toggleAttribute("hidden", !history);
    if (history) set(this.line, "points", history.points());
    set(this.chart, "aria-label", "Deliveries a second, the last two minutes");
  }

  found(it) {
    const session = it.kind === "session";
    const of = [
      [session ? "Session" : "Channel", existence(it)],
      ["Home", { nodes: [it.home] }],
      ["Replicas", { nodes: it.replicas.slice(1) }],
      ...(session ? [["Edge", it.edge ? { nodes: [it.edge] } : "none"], ["Connected", connection(it)]] : []),
      ...(session && it.subscriptions >= 0 ? [["Channels", many(it.subscriptions, "subscription")]] : []),
      ...(session ? [] : [["Readers", readers(it)]]),
      [session ? "Inbox" : "Log", log(it, session)],
      ["Slot", `${it.slot}, in view ${it.view}`],
    ];
    this.#show(session ? "Session" : "Channel", it.name, of);
    this.chart.toggleAttribute("hidden", true);
  }

  #show(kind, title, facts) {
    put(this.parts.kind, kind);
    put(this.parts.title, title);
    keyed(this.facts, facts, ([name]) => name, ([name]) => made("div", {}, made("dt", {}, name), made("dd")), (item, [, value]) => {
      const place = item.lastElementChild;
      if (typeof value === "string") put(place, value);
      else this.#nodes(place, value.nodes);
    });
    this.parts.card.hidden = false;
  }

  #nodes(place, ids) {
    if (!ids.length) {
      put(place, "none: the ring has one node");
      return;
    }
    if (place.firstElementChild === null) place.textContent = "";
    keyed(
      place,
      ids,
      (id) => id,
      (id) => made("button", { type: "button", class: "link mono", "data-node": id }, short(id)),
      () => {},
    );
  }
}

function figures(its, pulse) {
  const open = Object.entries(its.connections).map(([name, number]) => `${count(number)} ${name}`);
  const troubles = [];
  if (its.frozen) troubles.push("frozen");
  if (!its.leased) troubles.push("no lease");
  if (its.draining) troubles.push("draining");
  else if (!its.ready) troubles.push("not ready");
  if (its.view !== pulse.view) troubles.push(`on view ${its.view}`);
  if (its.lossy) troubles.push(many(its.lossy, "lossy takeover"));
  if (its.gaps) troubles.push(`${many(its.gaps, "gap")} told to readers`);
  return [
    ["Wrong", troubles.length ? troubles.join(", ") : "nothing"],
    ["Sessions", `${count(its.sessions)} here, ${count(its.records)} at home here`],
    ["Connections", open.length ? open.join(", ") + (its.polls ? `, ${count(its.polls)} polls held` : "") : "none"],
    ["Published", `${rate(tenth(its.published))} accepted here`],
    ["Delivered", rate(tenth(its.delivered))],
    ["Loop lag", seconds(its.lag)],
    ["CPU", `${percent(its.cpu)} of a core`],
    ["Memory", `${bytes(its.memory)}, ${bytes(its.log)} in logs`],
    ["Topics", `${count(its.topics)} at home here, ${count(its.feeds)} in its trees with ${many(its.children, "child", "children")}`],
  ];
}

function existence(it) {
  if (!it.answered) return "its home did not answer";
  if (it.known) return it.kind === "session" ? "known to its home" : "has readers or a log";
  return it.kind === "session" ? "unknown: it ended, or never was" : "nobody reads it, nothing is logged";
}

function connection(it) {
  if (!it.edge) return "no";
  return it.transport ? `by ${it.transport}` : "no: its edge does not hold it now";
}

function readers(it) {
  const nodes = it.tree.twigs.filter((twig) => twig.readers).length;
  const depth = it.tree.twigs.reduce((most, twig) => Math.max(most, twig.depth), 0);
  if (!it.readers) return "none";
  return `${count(it.readers)} on ${many(nodes, "node")}, ${many(depth, "link")} deep`;
}

function log(it, session) {
  if (!it.log) return session ? "nothing unread" : "none";
  const { epoch, offset, entries } = it.log;
  const held = `${count(entries)} ${session ? "unread" : entries === 1 ? "entry" : "entries"}, ${bytes(it.log.bytes)}`;
  return `${held}; ends at epoch ${epoch}, offset ${offset}`;
}
