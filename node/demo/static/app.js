/**
 * The demo page: wires the Bayeux client to the rooms, the direct messages and the ring.
 */

import { Bayeux } from "./bayeux.js";
import { Direct } from "./direct.js";
import { Ring } from "./ring.js";
import { Rooms } from "./rooms.js";

const SAVED = "cometring"; // key in the tab's sessionStorage, only between unload and load
const NAME = "cometring.name"; // key in localStorage
const TRANSPORTS = { websocket: "WebSocket", "long-polling": "long-polling" };
const NAMES = ["Halley", "Encke", "Biela", "Olbers", "Tempel", "Lexell", "Donati", "Swift"];

const byId = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 1023px)");

/** Taken out at once, so that a duplicated tab does not find the same session. */
function takeSaved() {
  const saved = sessionStorage.getItem(SAVED);
  sessionStorage.removeItem(SAVED);
  return saved && JSON.parse(saved);
}

let saved = takeSaved();
let session = saved?.session ?? {}; // ext of the handshake's reply: address, node, nodes
const client = new Bayeux("/bayeux", saved?.client);
const ring = new Ring(byId("ring"), byId("nodes"));
const nameBox = byId("name");

const me = () => ({
  name: nameBox.value.trim() || "Somebody",
  from: session.address ?? "",
  node: session.node ?? "",
  host: session.client ?? location.host,
});

const rooms = new Rooms(client, me, {
  sender(message) {
    showPane("direct");
    direct.writeTo(message.from);
  },
  arrival(message) {
    ring.spark(message.host);
    if (hiddenPane("rooms")) count("rooms-badge", +1);
  },
});

const direct = new Direct(client, me, {
  arrival(message) {
    ring.spark(message.host);
    if (hiddenPane("direct")) count("direct-badge", +1);
  },
});

// -- who and where one is ------------------------------------------------------

function showSession() {
  byId("address").textContent = session.address ?? "not yet known";
  byId("copy").disabled = !session.address;
  byId("node").textContent = session.node ?? "this node";
  byId("host").textContent = location.host;
  ring.show(Array.isArray(session.nodes) ? session.nodes : [], session.client);
}

client.addEventListener("handshake", ({ detail }) => {
  session = detail.ext ?? {};
  showSession();
});

nameBox.value = localStorage.getItem(NAME) ?? NAMES[Math.floor(Math.random() * NAMES.length)];
nameBox.addEventListener("input", () => localStorage.setItem(NAME, nameBox.value));

byId("copy").addEventListener("click", async () => {
  const button = byId("copy");
  try {
    await navigator.clipboard.writeText(session.address);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(byId("address")); // no clipboard without TLS
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
});

// -- the connection ------------------------------------------------------------

client.addEventListener("state", ({ detail: { state, transport, retryIn, reason } }) => {
  byId("status").dataset.state = state;
  byId("retry").hidden = state !== "waiting";
  const words = {
    connecting: () => ["Connecting…"],
    connected: () => [`Connected by ${TRANSPORTS[transport]}`],
    waiting: () => ["Offline", `: ${reason}. Next try in ${Math.ceil(retryIn / 1000)} s`],
    stopped: () => ["Disconnected", reason ? `: ${reason}` : ""],
  };
  const [brief, more = ""] = words[state]();
  const detail = document.createElement("span");
  detail.className = "detail"; // left out on a small screen
  detail.textContent = more;
  byId("state").replaceChildren(brief, detail);
});

byId("retry").addEventListener("click", () => client.retryNow());
addEventListener("online", () => client.retryNow());
addEventListener("offline", () => client.doubt("this device has no network"));

byId("transports").addEventListener("change", ({ target }) => useTransport(target.value));

function useTransport(choice) {
  client.use(...(choice === "auto" ? Object.keys(TRANSPORTS) : [choice]));
}

// -- panes on a narrow screen --------------------------------------------------

function hiddenPane(name) {
  return narrow.matches && document.body.dataset.pane !== name;
}

function showPane(name) {
  document.body.dataset.pane = name;
  for (const button of document.querySelectorAll("[data-shows]")) {
    button.setAttribute("aria-pressed", String(button.dataset.shows === name));
  }
  if (name !== "you") count(`${name}-badge`, null);
}

/** Add to the number on a badge; null clears it. */
function count(id, more) {
  const badge = byId(id);
  const number = more === null ? 0 : Number(badge.textContent || 0) + more;
  badge.textContent = number || "";
  badge.hidden = number === 0;
}

for (const button of document.querySelectorAll("[data-shows]")) {
  button.addEventListener("click", () => showPane(button.dataset.shows));
}

// -- a reload goes on with the same session, and with what was on the page ------

function save() {
  const transport = document.querySelector("[name=transport]:checked").value;
  const page = { rooms: rooms.saved(), direct: direct.saved(), transport, session };
  sessionStorage.setItem(SAVED, JSON.stringify({ client: client.snapshot(), ...page }));
}

addEventListener("pagehide", save);
addEventListener("pageshow", ({ persisted }) => persisted && takeSaved());

showSession();
if (saved) {
  direct.restore(saved.direct);
  rooms.restore(saved.rooms);
  document.querySelector(`[name=transport][value=${saved.transport}]`).checked = true;
  useTransport(saved.transport);
} else {
  rooms.join("lobby");
}
saved = null;
client.start();
