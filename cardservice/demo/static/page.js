// SPDX-License-Identifier: EUPL-1.2
// What every part of the page needs: words, requests, the feed, the card in hand, and what came of holding it.

import { euros as inEuros } from "/terminal/view.js";

export const words = JSON.parse(document.getElementById("words").textContent);
export const lang = document.documentElement.lang;
const locale = lang === "en" ? "en-GB" : "de-DE";
const MAX_TAPS_SHOWN = 8;

export const part = (id) => document.getElementById(id);
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];
export const placeOf = (point) => document.querySelector(`[data-points~="${point}"]`);

export function element(name, text, className) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Only what differs is written: a reader for the blind would say it again.
export function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

export const euros = (cents) => inEuros(cents, lang);

export function seconds(ms) {
  return new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(ms / 1000) + " s";
}

// ---- requests

export function complain(text) {
  const trouble = part("trouble");
  write(trouble, text);
  trouble.hidden = !text;
}

export async function post(url, fields = {}) {
  let response, body;
  try {
    response = await fetch(url, { method: "POST", body: new URLSearchParams(fields) });
    body = response.status === 204 ? {} : await response.json();
  } catch { // nobody answers, or with something that is none of ours
    complain(words.no_connection);
    return null;
  }
  complain(response.ok ? "" : words.problems[body.code] || body.detail);
  return response.ok ? body : null;
}

// While it is done nothing of the place can be pressed; whoever works by keyboard keeps their place.
export async function during(place, pressed, act) {
  const buttons = all("button", place).filter((one) => !one.disabled);
  buttons.forEach((one) => { one.disabled = true; });
  try {
    return await act();
  } finally {
    buttons.forEach((one) => { one.disabled = false; });
    if (document.activeElement === document.body) pressed.focus({ preventScroll: true });
  }
}

// ---- the feed

const listeners = new Map();

export function on(kind, listener) {
  listeners.set(kind, [...(listeners.get(kind) || []), listener]);
}

export function watch() {
  const feed = new EventSource("/events");
  feed.onmessage = (message) => {
    const event = JSON.parse(message.data);
    for (const listener of listeners.get(event.kind) || []) listener(event);
  };
  feed.onopen = () => { if (part("trouble").textContent === words.no_connection) complain(""); };
  feed.onerror = () => complain(words.no_connection);
}

// ---- the card in hand

export function cardInHand() {
  const chosen = document.querySelector("input[name=card]:checked");
  return { id: chosen.value, login: chosen.dataset.login, name: nameOf(chosen.value) };
}

export function nameOf(card) {
  const input = document.querySelector(`input[name=card][value="${card}"]`);
  return input.closest(".card").querySelector(".label").textContent;
}

// ---- what came of it

export function pending(place) {
  say(place, words.waiting, "pending");
}

export function say(place, text, kind, why = "") {
  const answer = place.querySelector(".answer");
  answer.className = ("answer " + kind).trim();
  write(answer, text);
  write(place.querySelector(".why"), why);
}

function reasonOf(seen) {
  const became = words["outcome_" + (seen.outcome || "none")] || words.outcome_none;
  if (!seen.reason) return became;
  let told = words.reasons[seen.reason];
  // Permitted, and yet nothing came of it: the place had its own reason, or it was too late.
  if (seen.permit && seen.outcome !== "acted") told = seen.answer && seen.outcome !== "late" ? words.place_refused : became;
  return `${told} (${seen.answer ? seen.reason + " · " + seen.answer.code : seen.reason})`;
}

// Shows what was seen at a place, and puts it on top of what happened last.
export function report(place, card, where, seen) {
  const good = seen.outcome === "acted";
  const kind = good ? "yes" : seen.reason || seen.outcome === "card_gone" ? "no" : "away";
  const why = [reasonOf(seen)];
  const took_us = seen.stages_us.agent_total;
  if (took_us !== undefined) why.push(words.at_reader + " " + (took_us / 1000).toFixed(0) + " ms");
  say(place, seen.text[lang], kind, why.join(" · "));
  remember(card + " · " + where, kind, seen);
}

export function remember(title, kind, seen) {
  part("nothing").hidden = true;
  const item = element("li", "", kind);
  item.append(element("div", title), element("div", seen.text[lang], "headline"));
  const details = [reasonOf(seen)];
  if (seen.level) details.push(words.level + ": " + seen.level);
  if (seen.inserted_to_decision_ms !== null) {
    details.push(seen.inserted_to_decision_ms.toFixed(0) + " ms " + words.from_insert);
  }
  item.append(element("div", details.join(" · "), "hint"));
  const list = part("taps");
  all("details", list).forEach((older) => { older.open = false; });
  if (Object.keys(seen.stages_us).length) {
    const timing = element("details");
    timing.open = true;
    timing.append(element("summary", words.stages), stages(seen.stages_us));
    item.append(timing);
  }
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
