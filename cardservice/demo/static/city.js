// SPDX-License-Identifier: EUPL-1.2
// Moves cards and shows what the service's live feed says. Decides nothing.
"use strict";

const words = JSON.parse(document.getElementById("words").textContent);
const lang = document.documentElement.lang;
const trouble = document.getElementById("trouble");
const MAX_TAPS_SHOWN = 8;

function complain(text) {
  trouble.textContent = text;
  trouble.hidden = !text;
}

function doorOf(point) {
  return [...document.querySelectorAll(".door")].find((door) => door.dataset.points.split(" ").includes(point));
}

async function post(url, fields) {
  let response;
  try {
    response = await fetch(url, { method: "POST", body: new URLSearchParams(fields) });
  } catch {
    complain(words.no_connection);
    return null;
  }
  const body = await response.json();
  complain(response.ok ? "" : body.detail);
  return response.ok ? body : null;
}

function answer(door, text, kind) {
  const place = door.querySelector(".answer");
  place.textContent = text;
  place.className = "answer " + kind;
}

async function holdCard(button) {
  const point = button.dataset.point;
  const door = doorOf(point);
  const card = document.querySelector("input[name=card]:checked");
  const buttons = [...door.querySelectorAll("button")];
  buttons.forEach((one) => { one.disabled = true; });
  answer(door, words.waiting, "");
  const seen = await post("/tap", { card: card.value, point });
  buttons.forEach((one) => { one.disabled = false; });
  button.focus({ preventScroll: true });
  if (!seen) { answer(door, "", ""); return; }
  const opened = seen.outcome === "acted";
  const text = seen.text ? seen.text[lang] : words[seen.outcome] || words.no_answer;
  answer(door, text, opened ? "yes" : "no");
  remember(card.parentElement.innerText.trim(), door.getAttribute("aria-label") + ", " + button.textContent, text, seen, opened);
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function remember(card, place, text, seen, opened) {
  document.getElementById("nothing").hidden = true;
  const item = element("li", "", opened ? "yes" : "no");
  item.append(element("div", card + " · " + place), element("div", text, "headline"));
  const details = [];
  if (seen.reason) details.push(words.reason + ": " + seen.reason);
  if (seen.level) details.push(words.level + ": " + seen.level);
  if (seen.inserted_to_decision_ms !== null) details.push(seen.inserted_to_decision_ms.toFixed(0) + " ms " + words.from_insert);
  item.append(element("div", details.join(" · "), "hint"));
  const list = document.getElementById("taps");
  list.querySelectorAll("details").forEach((older) => { older.open = false; });
  const timing = element("details");
  timing.open = true;
  timing.append(element("summary", words.stages), stages(seen.stages_us));
  item.append(timing);
  list.prepend(item);
  while (list.children.length > MAX_TAPS_SHOWN) list.lastElementChild.remove();
}

function stages(took) {
  const list = element("dl");
  const shown = Object.entries(took).filter(([name]) => words["stage_" + name]);
  const longest = Math.max(1, ...shown.map(([, us]) => us));
  for (const [name, us] of shown) {
    const bar = element("meter");
    bar.max = longest;
    bar.value = us;
    const label = words["stage_" + name];
    const value = (us / 1000).toFixed(us < 10000 ? 2 : 0) + " ms";
    bar.setAttribute("aria-label", label + ": " + value);
    const middle = element("dd");
    middle.append(bar);
    list.append(element("dt", label), middle, element("dd", value));
  }
  return list;
}

function showOutput(event) {
  const door = doorOf(event.point);
  if (!door) return;
  door.classList.toggle("released", event.state === "released");
  door.querySelector(".word").textContent = words[event.state];
  door.querySelector(".led").className = "led " + event.led;
}

// A card held to this machine's own reader: nobody pressed a button here.
function showOwnReader(event) {
  const door = document.getElementById("own");
  if (!door || event.point !== door.dataset.points) return;
  const text = event.text[lang];
  answer(door, text, event.permit ? "yes" : "no");
  const took = Object.fromEntries(Object.entries(event.stages_us).map(([name, us]) => ["centre_" + name, us]));
  remember(words.own_card, door.getAttribute("aria-label"), text, { ...event, stages_us: took, inserted_to_decision_ms: null }, event.permit);
}

async function toggle(button) {
  const item = button.closest("li");
  const disable = button.dataset.disabled !== "true";
  button.disabled = true;
  const done = await post("/people/" + encodeURIComponent(item.dataset.login), { disabled: disable });
  button.disabled = false;
  if (!done) return;
  button.dataset.disabled = String(disable);
  button.textContent = disable ? button.dataset.enable : button.dataset.disable;
  button.setAttribute("aria-label", button.textContent + ": " + item.querySelector(".name").textContent);
  const badge = item.querySelector(".badge");
  badge.textContent = disable ? button.dataset.off : button.dataset.on;
  badge.className = "badge " + (disable ? "bad" : "good");
}

async function showState() {
  const badge = document.getElementById("state");
  let state = {};
  try {
    state = await (await fetch("/status")).json();
  } catch {
    complain(words.no_connection);
  }
  const kind = state.status || "not_ready";
  badge.textContent = words[kind];
  badge.className = "badge " + (kind === "ready" ? "good" : "bad");
  badge.title = (state.degraded || []).join(" · ");
  if (state.directory && state.directory.age_ms !== null) {
    document.getElementById("copy").textContent =
      words.copy_age + " " + (state.directory.age_ms / 1000).toFixed(1) + " s · " + state.directory.people + " " +
      words.people + " · " + words.revision + " " + state.snapshot_revision;
  }
}

document.querySelectorAll(".sides button").forEach((button) => button.addEventListener("click", () => holdCard(button)));
document.querySelectorAll(".people button").forEach((button) => button.addEventListener("click", () => toggle(button)));

const feed = new EventSource("/events");
feed.onmessage = (message) => {
  const event = JSON.parse(message.data);
  if (event.kind === "output") showOutput(event);
  if (event.kind === "tap") showOwnReader(event);
};
feed.onopen = () => complain("");
feed.onerror = () => complain(words.no_connection);

showState();
setInterval(showState, 2000);
