/** The console: one feed, and all that shows it. What is picked stands in the page's address. */

import { Detail } from "./detail.js";
import { Feed, LATE } from "./feed.js";
import { Find } from "./find.js";
import { Flights } from "./flights.js";
import { verdict } from "./health.js";
import { Ring } from "./ring.js";
import { Channels, Members, Publishes, Totals, journey } from "./tables.js";
import { many, put, set, short } from "./words.js";

const at = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const ring = new Ring(at("ring"), pickNode);
const flights = new Flights(ring, at("flights"), started);
const totals = new Totals(at("totals"));
const channels = new Channels(at("channels"), at("channels-none"), pickName);
const publishes = new Publishes(at("publishes"), at("publishes-none"), pickName);
const members = new Members(at("members"), pickNode);
const detail = new Detail(
  { card: at("detail"), title: at("detail-title"), kind: at("detail-kind"), body: at("detail-body") },
  pickNode,
);
const find = new Find({ form: at("find"), input: at("name"), error: at("find-error") }, found);

let drawn = null; // the ring, as it was last told
let latest = null; // the last pulse
let heard = 0; // when it came, ms
let picked = { kind: "", name: "" };
let opener = null; // what had the focus when the detail was opened
let due = 0; // the animation frame that will show what has come

new Feed({
  ring(told) {
    drawn = told;
    latest = null;
    ring.draw(told);
    members.draw(told);
    if (picked.kind === "node" && !told.members.some(({ id }) => id === picked.name)) close();
  },
  pulse(told) {
    latest = told;
    heard = performance.now();
    totals.pulse(told);
    detail.remember(told);
    flights.pulse(told, picked.kind === "channel" || picked.kind === "session" ? picked.name : "");
    due ||= requestAnimationFrame(show);
  },
  state(state, text) {
    document.body.dataset.feed = state;
    if (state !== "open") say({ state: "bad", text });
  },
});

/** Show the latest pulse: once a frame, however many have come. */
function show() {
  due = 0;
  if (!latest || !drawn) return;
  ring.pulse(latest);
  channels.pulse(latest);
  channels.pick(picked.name);
  members.pulse(latest);
  say(verdict(drawn, latest));
  put(at("clock"), `${new Date(latest.at * 1000).toLocaleTimeString()} · view ${latest.view}, seen by ${short(drawn.node)}`);
  document.body.dataset.feed = "open";
  if (picked.kind === "node") showNode(picked.name);
}

function say({ state, text }) {
  set(at("verdict"), "data-state", state);
  put(at("verdict-text"), text);
}

setInterval(() => {
  if (heard && document.body.dataset.feed === "open" && performance.now() - heard > LATE && !document.hidden) {
    document.body.dataset.feed = "lost";
    say({ state: "bad", text: "No word from this node for some seconds" });
  }
}, 1000);

// -- publishes ---------------------------------------------------------------------------

function started(publish, tree) {
  put(at("theatre-topic"), publish.topic);
  put(at("theatre-text"), journey(publish, tree));
  publishes.add(publish, tree);
}

// -- what is picked ------------------------------------------------------------------------

function pickNode(id) {
  if (picked.kind === "node" && picked.name === id) {
    close();
    return;
  }
  open("node", id);
  ring.pick(id);
  members.pick(id);
  put(at("said"), `Node ${short(id)} is shown`);
  showNode(id);
  reveal();
}

function showNode(id) {
  const member = drawn?.members.find((one) => one.id === id);
  if (member && latest) detail.member(member, latest, drawn.node);
}

function pickName(name) {
  at("name").value = name;
  find.look(name);
}

function found(it, isNew) {
  if (isNew) {
    open(it.kind, it.name);
    flights.clear(); // from now on only what goes there flies
    put(at("theatre-topic"), it.name);
    put(at("theatre-text"), "");
    put(at("said"), `${it.name}: home ${short(it.home)}${it.kind === "channel" ? `, ${many(it.readers, "reader")}` : ""}`);
  }
  const parts = Object.fromEntries(it.replicas.map((id) => [id, "replica"]));
  parts[it.home] = "home";
  if (it.edge) parts[it.edge] = it.edge === it.home ? "home, edge" : parts[it.edge] ? "replica, edge" : "edge";
  ring.parts(parts);
  flights.lines(it.tree);
  channels.pick(it.name);
  detail.found(it);
  if (isNew) reveal();
}

/** Something else is picked: nothing of what was before stays marked. */
function open(kind, name) {
  opener = document.activeElement;
  if (kind === "node") find.stop();
  picked = { kind, name };
  document.body.dataset.picked = kind;
  ring.pick("");
  ring.parts({});
  members.pick("");
  channels.pick("");
  flights.lines(null);
  history.replaceState(null, "", name ? `#${kind === "node" ? "node" : "name"}=${encodeURIComponent(name)}` : "#");
}

function close() {
  const back = opener;
  find.stop();
  open("", "");
  detail.close();
  put(at("said"), "");
  if (back?.isConnected) back.focus();
}

/** On a small screen the detail is not beside the ring but below it. */
function reveal() {
  const box = at("detail").getBoundingClientRect();
  if (box.top < 0 || box.top > innerHeight * 0.8) {
    at("detail").scrollIntoView({ block: "start", behavior: calm.matches ? "auto" : "smooth" });
  }
}

at("detail-close").addEventListener("click", close);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && picked.kind) close();
});

// -- motion ----------------------------------------------------------------------------------

function move(still) {
  set(at("motion"), "aria-pressed", still);
  flights.hold(still);
}

at("motion").addEventListener("click", () => move(!flights.still));
calm.addEventListener("change", () => move(calm.matches));
document.addEventListener("visibilitychange", () => document.hidden && flights.clear());
move(calm.matches);

const wanted = new URLSearchParams(location.hash.slice(1));
if (wanted.get("name")) pickName(wanted.get("name"));
else if (wanted.get("node")) picked = { kind: "node", name: wanted.get("node") };
