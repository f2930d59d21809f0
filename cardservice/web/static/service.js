// SPDX-License-Identifier: EUPL-1.2
// What every page needs of a script: the session's token on each change, and a word when an answer does not come.
"use strict";

const token = document.querySelector('meta[name="form-token"]');

document.addEventListener("htmx:configRequest", (event) => {
  if (token) event.detail.headers["X-Form-Token"] = token.content;
});

// Signed out meanwhile, or the service is away: the page says so where the answer would have stood.
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.xhr.status === 401) window.location.reload();
  else say(event.detail.target, event.detail.xhr);
});
document.addEventListener("htmx:sendError", (event) => say(event.detail.target, null));

// What asks again by itself does not while nobody sees it, nor once nobody has touched the page for long: a page that
// was left open must not keep the session of whoever left it.
const LEFT_MS = 15 * 60 * 1000;
let touchedMs = Date.now();
for (const kind of ["pointermove", "pointerdown", "keydown"]) {
  document.addEventListener(kind, () => { touchedMs = Date.now(); }, { passive: true });
}

document.addEventListener("htmx:beforeRequest", (event) => {
  const part = event.detail.elt;
  if (!("live" in part.dataset)) return;
  const left = Date.now() - touchedMs > LEFT_MS;
  if (left || document.hidden) event.preventDefault();
  if (left) put(part, part.dataset.paused, "status");
});

// What is replaced under somebody's keyboard keeps it: the same link or button of the new content has it again.
let keyboardAt = "";
document.addEventListener("htmx:beforeSwap", (event) => {
  const one = document.activeElement;
  keyboardAt = event.detail.target.contains(one) ? sameAgain(one) : "";
});
document.addEventListener("htmx:afterSwap", () => {
  if (keyboardAt && document.activeElement === document.body) document.querySelector(keyboardAt)?.focus();
  keyboardAt = "";
});

function sameAgain(one) {
  const named = (name, value) => `[${name}="${CSS.escape(value)}"]`;
  if (one.id) return named("id", one.id);
  if (one.hasAttribute("href")) return named("href", one.getAttribute("href"));
  const form = one.form?.getAttribute("action");
  if (!form) return "";
  return `form${named("action", form)} ${one.localName}${one.name ? named("name", one.name) : ""}`;
}

function say(place, answer) {
  put(place, told(answer) || document.body.dataset.away || "", "alert");
}

function put(place, text, role) {
  const first = place.firstElementChild;
  // Said once, not at every attempt.
  if (first && first.classList.contains("notice") && first.textContent === text) return;
  const notice = document.createElement("p");
  notice.className = "notice bad";
  notice.setAttribute("role", role);
  notice.textContent = text;
  place.prepend(notice);
}

function told(answer) {
  try {
    return JSON.parse(answer.responseText).detail;
  } catch {
    return "";
  }
}
