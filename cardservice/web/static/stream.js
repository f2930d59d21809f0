// SPDX-License-Identifier: EUPL-1.2
// A page that is kept up to date by a stream: rows that come on top (`rows`), parts in the place of those with the same
// id (`parts`). It says how the connection is, begins again by itself, and shows nothing twice.
"use strict";

const box = document.getElementById("stream");
const words = box.dataset;
const line = document.getElementById("connection");
const pause = document.getElementById("pause");
const table = document.getElementById("rows");
const most = Number(table?.dataset.most || 0);
// The service sends something every 10 seconds.
const SILENT_MS = 25000;
const AGAIN_MS = 5000;
const LONGEST_MS = 60000;
let source = null;
let silent = 0;
let failures = 0;
let seen = words.after;
let held = [];
let paused = false;

function say(text) {
  if (line.textContent !== text) line.textContent = text;
}

// What stands there while all is well: connected, or paused with so many rows that wait.
function well() {
  say(paused ? `${words.held} ${held.length}` : words.open);
}

function open() {
  close();
  const address = new URL(words.stream, window.location.href);
  if (seen) address.searchParams.set("after", seen);
  source = new EventSource(address);
  source.addEventListener("open", connected);
  source.addEventListener("error", broken);
  source.addEventListener("beat", heard);
  source.addEventListener("rows", (event) => { heard(); take(event); });
  source.addEventListener("parts", (event) => { heard(); replace(event.data); });
  source.addEventListener("over", over);
  source.addEventListener("full", () => say(words.full));
  heard();
}

function close() {
  clearTimeout(silent);
  if (source) source.close();
}

function heard() {
  clearTimeout(silent);
  silent = setTimeout(() => { say(words.lost); open(); }, SILENT_MS);
}

function connected() {
  failures = 0;
  well();
}

// The browser tries again by itself, unless it was refused: then nobody but us does.
function broken() {
  if (line.textContent !== words.full) say(words.lost);
  if (source.readyState !== EventSource.CLOSED) return;
  close();
  failures += 1;
  setTimeout(ask, Math.min(AGAIN_MS * failures, LONGEST_MS));
}

async function ask() {
  const asked = new AbortController();
  try {
    const answer = await fetch(source.url, { signal: asked.signal });
    asked.abort();
    if (answer.status === 401 || answer.status === 403) over();
    else open();
  } catch {
    open();
  }
}

function over() {
  close();
  line.hidden = true;
  if (pause) pause.hidden = true;
  document.getElementById("over").hidden = false;
}

function take(event) {
  seen = event.lastEventId || seen;
  const rows = [...parsed(event.data).children].filter((row) => !document.getElementById(row.id));
  held = [...rows, ...held].slice(0, most);
  if (!paused) show();
  well();
}

function show() {
  table.prepend(...held);
  held = [];
  while (table.rows.length > most) table.lastElementChild.remove();
  document.getElementById("empty").hidden = table.rows.length > 0;
}

// What has the focus keeps it, if it is there afterwards.
function replace(text) {
  for (const part of [...parsed(text).children]) {
    const before = document.getElementById(part.id);
    if (!before || before.isEqualNode(part)) continue;
    keepTyped(before, part);
    const focused = before.contains(document.activeElement) ? document.activeElement.id : "";
    before.replaceWith(part);
    if (focused) document.getElementById(focused)?.focus();
  }
}

// And so does what somebody has typed or chosen meanwhile.
function keepTyped(before, part) {
  for (const field of before.querySelectorAll("input[id]:not([type=hidden]), select[id]")) {
    const same = part.querySelector(`#${CSS.escape(field.id)}`);
    if (same && same.type === field.type && field.value !== field.defaultValue) same.value = field.value;
  }
}

function parsed(text) {
  const template = document.createElement("template");
  template.innerHTML = text;
  return template.content;
}

if (pause) {
  const wording = pause.textContent;
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? pause.dataset.go : wording;
    if (!paused) show();
    if (source.readyState === EventSource.OPEN) well();
  });
}
window.addEventListener("pagehide", close);
window.addEventListener("pageshow", (event) => { if (event.persisted) open(); });
say("");
open();
