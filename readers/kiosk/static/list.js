// SPDX-License-Identifier: EUPL-1.2
// The list looks again by itself: a terminal may come, go, or be the only one. Where nothing changed nothing moves, and
// whoever works by keyboard keeps their place.

const EVERY_MS = 5000;

async function look() {
  let told, address;
  try {
    const response = await fetch(location.href);
    [told, address] = [await response.text(), response.url];
  } catch {
    return; // the agent restarts; the list is as good as before
  }
  const terminals = new DOMParser().parseFromString(told, "text/html").querySelector("main");
  if (terminals && terminals.innerHTML !== document.querySelector("main").innerHTML) location.replace(address);
}

setInterval(look, EVERY_MS);
