// SPDX-License-Identifier: EUPL-1.2
// The five places: holds the card where the visitor says, and shows what the places themselves show.

import { all, cardInHand, during, element, euros, lang, nameOf, on, part, pending, placeOf, post, remember, report, say, words, write } from "./page.js";
import { shownOf } from "/terminal/view.js";

// ---- every reader a card is held to

// A key that was pressed counts for the card that follows, however quickly.
let keyTold = Promise.resolve();

async function hold(button) {
  const place = placeOf(button.dataset.point);
  const card = cardInHand();
  const where = button.getAttribute("aria-label").replace(/^[^:]*: /, "");
  pending(place);
  const seen = await during(place, button, async () => {
    await keyTold;
    return post("/tap", { card: card.id, point: button.dataset.point });
  });
  if (seen) report(place, card.name, where, seen); else say(place, "", "");
}

all("[data-point]").forEach((button) => button.addEventListener("click", () => hold(button)));

// ---- doors

on("output", (event) => {
  const door = placeOf(event.point);
  if (!door || !door.classList.contains("door")) return;
  door.classList.toggle("released", event.state === "released");
  write(door.querySelector(".word"), words[event.state]);
  door.querySelector(".led").className = "led " + event.led;
});

// A card held to this machine's own reader: nobody pressed a button here.
on("tap", (event) => {
  const door = part("own");
  if (!door || event.point !== door.dataset.points) return;
  const took = Object.fromEntries(Object.entries(event.stages_us).map(([name, us]) => ["centre_" + name, us]));
  const seen = { ...event, outcome: event.permit ? "acted" : "shown", stages_us: took, inserted_to_decision_ms: null };
  report(door, words.own_card, door.getAttribute("aria-label"), seen);
});

// ---- terminals: the screen as the agent tells it to the terminal's own page

on("screen", (event) => {
  const place = placeOf(event.point);
  if (!place) return;
  const shown = shownOf(event.screen, words.terminals[place.dataset.use], lang);
  const screen = place.querySelector(".screen");
  screen.dataset.view = shown.sign === "card" ? shown.view : shown.sign;
  for (const name of ["amount", "headline", "detail"]) {
    const line = screen.querySelector("." + name);
    write(line, shown[name] || "");
    line.hidden = !shown[name];
  }
  const facts = screen.querySelector(".facts");
  facts.replaceChildren(...(shown.facts || []).flatMap(([label, value]) => [element("dt", label), element("dd", value)]));
  facts.hidden = !shown.facts || !shown.facts.length;
  const chosen = event.screen.choice ? event.screen.choice.key : null;
  for (const key of all(".key", place)) key.setAttribute("aria-pressed", String(key.dataset.key === chosen));
});

all(".key").forEach((key) => key.addEventListener("click", () => {
  keyTold = post("/keys/" + key.closest("[data-points]").dataset.points, { key: key.dataset.key });
}));

// ---- canteen

function tillSays(text) {
  write(part("till-note"), text);
}

let asking = false; // until the terminal shows the amount

all(".dish").forEach((dish) => dish.addEventListener("click", async () => {
  if (asking) return;
  asking = true;
  try {
    await post("/till", { dish: dish.dataset.dish });
  } finally {
    asking = false;
  }
}));
part("cancel").addEventListener("click", () => post("/till/cancel"));
part("top-up").addEventListener("click", async () => {
  if (await post("/wallet", { card: cardInHand().id })) tillSays(words.topped_up);
});

on("till", (event) => {
  const said = words["till_" + event.status] || words.till_unknown;
  tillSays(said.replace("{amount}", euros(event.amount_cents)));
});

on("tour", ({ till }) => {
  const dishes = all(".dish");
  const cancel = part("cancel");
  const [pressed, takenBack] = [dishes.includes(document.activeElement), cancel === document.activeElement];
  for (const dish of dishes) {
    dish.disabled = till !== null;
    if (till === dish.dataset.dish) tillSays(words.till_asks.replace("{amount}", euros(Number(dish.dataset.cents))));
  }
  cancel.disabled = till === null;
  // Whoever works by keyboard goes on from there: takes it back, or asks again.
  if (till !== null && pressed) cancel.focus({ preventScroll: true });
  if (till === null && takenBack) dishes[0].focus({ preventScroll: true });
});

// ---- printers

const print = part("print");
if (print) {
  print.addEventListener("click", async () => {
    const sent = await during(print.parentElement, print, () => post("/documents", { card: cardInHand().id }));
    if (sent) write(part("print-note"), words.sent);
  });
  on("tour", ({ printed }) => {
    for (const [point, count] of Object.entries(printed)) {
      const tray = placeOf(point).querySelector(".count");
      if (tray.textContent === String(count)) continue;
      write(tray, String(count));
      write(part("print-note"), "");
    }
  });
}

// ---- the PC: the card stays in it

const pc = part("pc");

part("put-in").addEventListener("click", async () => {
  const card = cardInHand();
  pending(pc);
  const seen = await post("/pc", { card: card.id });
  if (seen) report(pc, card.name, pc.querySelector("h2").textContent, seen); else say(pc, "", "");
});

part("take-out").addEventListener("click", async () => {
  const left = await post("/pc/away");
  if (left && left.locked_ms !== null) say(pc, words.screen_locked, "", words.locked_after + " " + left.locked_ms + " ms");
});

on("tour", ({ pc: { card, locked } }) => {
  const monitor = pc.querySelector(".monitor");
  // The card was taken along to another place, or by somebody on another page.
  if (locked && monitor.dataset.locked === "false" && pc.querySelector(".answer.yes")) say(pc, words.screen_locked, "");
  monitor.dataset.locked = locked === null ? "unknown" : String(locked);
  write(monitor.querySelector(".word"), locked === null ? words.screen_unknown : locked ? words.screen_locked : words.screen_open);
  write(monitor.querySelector(".who"), monitor.dataset.user);
  const slot = pc.querySelector(".slot strong");
  write(slot, card ? nameOf(card) : slot.dataset.empty);
  const [into, out] = [part("put-in"), part("take-out")];
  const hadFocus = [into, out].includes(document.activeElement);
  into.disabled = card !== null;
  out.disabled = card === null;
  if (hadFocus) (card === null ? into : out).focus({ preventScroll: true });
});
