// SPDX-License-Identifier: EUPL-1.2
// The drawer, what is broken, who is in the directory, and what lies apart. Decides nothing.

import { all, cardInHand, complain, element, on, part, post, seconds, watch, words, write } from "./page.js";
import "./places.js";

const STATUS_EVERY_MS = 2000;
let tour = null; // what holds on every page, as it was told last

// ---- the drawer and the card desk

function stateOf(input) {
  return input.dataset.registered === "yes" ? (tour ? tour.cards[input.value] : "active") : "unregistered";
}

function flawsOf(input) {
  const found = [];
  if (stateOf(input) !== "active") found.push(words["badge_" + stateOf(input)]);
  if (tour && tour.disabled.includes(input.dataset.login)) found.push(words.badge_disabled);
  if (input.dataset.expired === "yes") found.push(words.badge_expired);
  return found;
}

function showDrawer() {
  for (const input of all("input[name=card]")) {
    const flaws = input.closest(".card").querySelector(".flaws");
    const found = flawsOf(input);
    if (flaws.textContent !== found.join("")) flaws.replaceChildren(...found.map((one) => element("span", one, "badge bad")));
  }
  const chosen = document.querySelector("input[name=card]:checked");
  const state = stateOf(chosen);
  const button = part("missing");
  write(part("desk-says"), words["desk_" + state]);
  button.disabled = state !== "active" && state !== "suspended";
  write(button, state === "suspended" ? button.dataset.found : button.dataset.report);
  write(part("in-hand"), cardInHand().name);
}

part("missing").addEventListener("click", async () => {
  const card = cardInHand();
  const missing = tour.cards[card.id] === "active";
  const done = await post("/cards/" + card.id, { missing });
  if (done && done.took_ms !== null) {
    write(part("desk-says"), `${words[missing ? "desk_suspended" : "desk_active"]} ${words.took_effect} ${done.took_ms.toFixed(0)} ms.`);
  }
});

all("input[name=card]").forEach((input) => input.addEventListener("change", () => { showDrawer(); showApart(); }));

// ---- the two switches

function showSwitch(name, works, figure) {
  const place = document.querySelector(`[data-switch="${name}"]`);
  place.dataset.on = String(works);
  const which = works ? "on" : "off";
  for (const one of [place.querySelector(".badge"), place.querySelector(".means"), place.querySelector("button")]) {
    write(one, one.dataset[which]);
  }
  place.querySelector(".badge").className = "badge " + (works ? "good" : "bad");
  if (figure !== null) write(place.querySelector(".figure"), figure);
}

all("[data-switch] button").forEach((button) => button.addEventListener("click", async () => {
  const place = button.closest("[data-switch]");
  await post("/" + place.dataset.switch, { on: place.dataset.on !== "true" });
}));

// ---- the directory's people

function showPeople() {
  const hint = part("people-hint");
  write(hint, tour.directory ? hint.dataset.on : hint.dataset.off);
  for (const item of all(".people li")) {
    const disabled = tour.disabled.includes(item.dataset.login);
    const [badge, button] = [item.querySelector(".badge"), item.querySelector("button")];
    item.dataset.disabled = String(disabled);
    write(badge, disabled ? badge.dataset.off : badge.dataset.on);
    badge.className = "badge " + (disabled ? "bad" : "good");
    write(button, disabled ? button.dataset.enable : button.dataset.disable);
    button.setAttribute("aria-label", button.textContent + ": " + item.querySelector(".name").textContent);
    button.disabled = !tour.directory;
  }
}

all(".people button").forEach((button) => button.addEventListener("click", async () => {
  const item = button.closest("li");
  const disabled = item.dataset.disabled !== "true";
  const done = await post("/people/" + encodeURIComponent(item.dataset.login), { disabled });
  if (done && done.took_ms !== null) write(part("people-hint"), `${words.took_effect} ${done.took_ms.toFixed(0)} ms.`);
}));

on("tour", (told) => {
  const before = tour;
  tour = told;
  showSwitch("network", told.network, told.kept ? words.kept + " " + told.kept : "");
  showSwitch("directory", told.directory, null);
  if (!before || JSON.stringify([before.cards, before.disabled]) !== JSON.stringify([told.cards, told.disabled])) showDrawer();
  if (!before || before.directory !== told.directory || String(before.disabled) !== String(told.disabled)) showPeople();
});

async function showState() {
  const badge = part("state");
  let state = {};
  try {
    state = await (await fetch("/status")).json();
  } catch {
    complain(words.no_connection);
  }
  const kind = state.status || "not_ready";
  write(badge, words[kind]);
  badge.className = "badge " + (kind === "ready" ? "good" : "bad");
  badge.title = (state.degraded || []).join(" · ");
  const [copy] = state.directories || [];
  if (!copy || copy.age_ms === null) return;
  const age = words.copy_age + " " + seconds(copy.age_ms);
  write(document.querySelector("[data-switch=directory] .figure"), age);
  write(part("copy"), [age, copy.people + " " + words.people, words.revision + " " + state.snapshot_revision].join(" · "));
}

// ---- what lies apart

let asked = 0;

async function showApart() {
  const mine = ++asked;
  const card = cardInHand();
  let found;
  try {
    found = await (await fetch("/apart?card=" + encodeURIComponent(card.id))).json();
  } catch {
    return; // the feed says that nobody answers
  }
  if (mine !== asked) return;
  write(part("apart-card"), card.name);
  part("nobodys").hidden = found.uses.some((use) => use.pseudonym !== null);
  for (const use of found.uses) {
    const column = document.querySelector(`.column[data-use="${use.use}"]`);
    write(column.querySelector(".number"), use.number ? use.number + " …" : "–");
    write(column.querySelector(".pseudonym"), use.pseudonym ? use.pseudonym + " …" : "–");
    write(column.querySelector(".records"), use.records === null ? "–" : String(use.records));
  }
}

part("link").addEventListener("click", async () => {
  const answer = await post("/link");
  if (answer) part("link-note").replaceChildren(words.refused + ": ", element("code", answer.refused));
});

// What a place wrote down is there once its event is handed over, or its document is out.
for (const kind of ["event", "till", "tour"]) on(kind, showApart);

showDrawer();
showApart();
watch();
showState();
setInterval(showState, STATUS_EVERY_MS);
