// SPDX-License-Identifier: EUPL-1.2
// Shows what the agent says of this terminal, and tells it which key was pressed. Decides nothing, keeps nothing: the
// digits of a PIN are here until they are sent, the question ends, or the agent falls silent.
import { moment, shownOf } from "./view.js";

const SILENCE_MS = 15000;
const RETRY_MS = 1000;
const LATE_MS = 500;
const LONG_TEXT = 70;
const PIN_DIGITS = [4, 12];
const page = document.documentElement;
const part = (id) => document.getElementById(id);
const face = JSON.parse(part("face").textContent);
const keys = [...document.querySelectorAll(".key")];

let state = null; // what the agent said last; null while it is silent
let arrived = 0; // when, by this page's monotonic clock
let watchdog = 0;
let forgetting = 0;
let digits = ""; // of the PIN that is being typed
let asked = 0; // which question they answer
let left = null; // where the keyboard was before the pad came
let written = ""; // what stands in the panel

const word = (name) => face.words[page.lang][name];

// ---- the feed

function connect() {
  const feed = new EventSource("/" + page.dataset.point + "/events");
  const again = () => {
    clearTimeout(watchdog);
    feed.close();
    lose();
    setTimeout(connect, RETRY_MS);
  };
  const watch = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(again, SILENCE_MS);
  };
  feed.onerror = again;
  feed.onmessage = (event) => { watch(); take(JSON.parse(event.data)); };
  watch();
}

function take(news) {
  if (news.use !== page.dataset.use || news.version !== page.dataset.version) { location.reload(); return; }
  state = news;
  arrived = performance.now();
  clearTimeout(forgetting);
  // Private again even if the agent should hang just now.
  if (state.answer) forgetting = setTimeout(lose, state.answer.left_ms + LATE_MS);
  render();
}

function lose() {
  clearTimeout(forgetting);
  state = null;
  render();
}

// ---- what is seen

function showPanel(shown) {
  // Only what differs is written: a reader for the blind would say it again.
  const whole = JSON.stringify([page.lang, shown]);
  if (written === whole) return;
  written = whole;
  page.dataset.view = shown.view;
  page.dataset.sign = shown.sign;
  for (const name of ["amount", "headline", "detail"]) {
    part(name).textContent = shown[name] || "";
    part(name).hidden = !shown[name];
  }
  part("headline").classList.toggle("long", shown.headline.length > LONG_TEXT);
  const rows = (shown.facts || []).map(([label, value]) => {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const figure = document.createElement("dd");
    term.textContent = label;
    figure.textContent = value;
    row.append(term, figure);
    return row;
  });
  part("facts").replaceChildren(...rows);
  part("facts").hidden = rows.length === 0;
}

function showKeys() {
  const chosen = state && state.choice ? state.choice.key : null;
  for (const key of keys) {
    key.setAttribute("aria-pressed", String(key.dataset.key === chosen));
    // Not `disabled`: whoever works by keyboard would lose their place.
    key.setAttribute("aria-disabled", String(!state || !state.connected));
  }
  part("cancel").hidden = !chosen && !pinAsked();
}

const pinAsked = () => (state && state.view === "pin" ? state.pin.ask : 0);

// On the page only while a PIN is asked for.
function openPad() {
  left = document.activeElement;
  document.querySelector("main").append(part("pad-template").content.cloneNode(true));
  for (const key of document.querySelectorAll("#pad .digit")) key.addEventListener("click", () => type(key.dataset.digit));
  part("rub").addEventListener("click", rub);
  part("send").addEventListener("click", send);
}

function closePad() {
  if (!part("pad")) return;
  part("pad").remove();
  if (part("keys")) part("keys").hidden = false;
  if (left !== document.body && document.activeElement === document.body) left.focus();
}

function showPad() {
  const opens = asked !== pinAsked();
  if (opens) {
    asked = pinAsked();
    digits = "";
    closePad();
    if (asked) openPad();
    if (part("keys")) part("keys").hidden = Boolean(asked);
  }
  if (!asked) return;
  for (const named of document.querySelectorAll("#pad [data-word]")) named.textContent = word(named.dataset.word);
  part("pad").setAttribute("aria-label", word("pin"));
  part("dots").textContent = "●".repeat(digits.length);
  part("dots").setAttribute("aria-label", digits.length + " " + word("pin_digits"));
  part("send").setAttribute("aria-disabled", String(digits.length < PIN_DIGITS[0]));
  // Whoever works by keyboard goes on at the pad; nobody else sees a frame around it.
  if (opens && left !== document.body) part("pad").focus({ preventScroll: true });
}

function render() {
  if (state) {
    page.lang = state.language;
    if (document.title !== state.name) document.title = state.name;
    part("name").textContent = state.name;
  }
  for (const named of document.querySelectorAll("[data-word]")) named.textContent = word(named.dataset.word);
  if (part("keys")) part("keys").setAttribute("aria-label", word("keys"));
  const other = part("language");
  other.textContent = word("other_language");
  other.lang = word("other_language_code");
  other.hidden = !state;
  showPanel(shownOf(state, face, page.lang));
  showKeys();
  showPad();
  tick();
}

function tick() {
  if (!state) { part("left").value = 0; return; }
  const passed = performance.now() - arrived;
  const now = state.now_ms + passed;
  const time = moment(now, page.lang, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  if (part("time").textContent !== time || part("date").lang !== page.lang) {
    part("time").textContent = time;
    part("date").textContent = moment(now, page.lang, { weekday: "long", day: "numeric", month: "long" });
    part("date").lang = page.lang;
  }
  const timed = state.view === "pin" ? state.pin : state.choice;
  part("left").value = timed ? Math.max(0, timed.left_ms - passed) / timed.of_ms : 0;
}

// ---- what is pressed

async function tell(what, body) {
  try {
    await fetch("/" + page.dataset.point + "/" + what, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
  } catch {
    // The feed says so on the page when the agent cannot be reached.
  }
}

for (const key of keys) {
  key.addEventListener("click", () => {
    if (key.getAttribute("aria-disabled") !== "true") tell("choice", { key: key.dataset.key });
  });
}

function type(digit) {
  if (asked && digits.length < PIN_DIGITS[1]) { digits += digit; showPad(); }
}

function rub() {
  digits = digits.slice(0, -1);
  showPad();
}

function answerPin(pin) {
  const ask = asked;
  digits = "";
  showPad();
  if (ask) tell("pin", { ask, pin });
}

function send() {
  if (digits.length >= PIN_DIGITS[0]) answerPin(digits);
}

// Whatever has the focus on the pad, digits are digits and Enter is OK; Tab and the space bar work the buttons.
function typed(event) {
  const elsewhere = document.activeElement === part("cancel") || document.activeElement === part("language");
  if (/^[0-9]$/.test(event.key)) type(event.key);
  else if (event.key === "Backspace") rub();
  else if (event.key === "Escape") answerPin(null);
  else if (event.key === "Enter" && !elsewhere) send();
  else return;
  event.preventDefault();
}

part("cancel").addEventListener("click", () => {
  if (asked) { answerPin(null); return; }
  tell("choice", { key: null });
  if (keys[0]) keys[0].focus();
});
part("language").addEventListener("click", () => tell("language", { language: word("other_language_code") }));
document.addEventListener("keydown", (event) => {
  if (asked) { typed(event); return; }
  if (event.key === "Escape" && state && state.choice) tell("choice", { key: null });
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 2, ArrowUp: -2 };
  const from = keys.indexOf(document.activeElement);
  const to = keys[from + steps[event.key]];
  if (from >= 0 && to) { event.preventDefault(); to.focus(); }
});
// A long press on a touch screen is no wish for a menu.
document.addEventListener("contextmenu", (event) => event.preventDefault());

render();
setInterval(tick, 200);
connect();
