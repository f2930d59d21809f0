// SPDX-License-Identifier: EUPL-1.2
// What a terminal's screen shows of what the agent says: for its own page, and for whoever shows it small beside others.
// A screen's `face` holds its words in both languages and which figures it shows; nothing here knows any use.

const ZONE = "Europe/Berlin"; // whatever the browser's machine believes
const localeOf = (lang) => (lang === "en" ? "en-GB" : "de-DE");

export function euros(cents, lang) {
  return new Intl.NumberFormat(localeOf(lang), { style: "currency", currency: "EUR" }).format(cents / 100);
}

export function moment(ms, lang, form) {
  return new Intl.DateTimeFormat(localeOf(lang), { ...form, timeZone: ZONE }).format(ms);
}

function duration(ms, words) {
  const minutes = Math.floor(ms / 60000);
  return `${Math.floor(minutes / 60)} ${words.hours} ${minutes % 60} ${words.minutes}`;
}

const FORMS = {
  euros: (cents, words, lang) => euros(cents, lang),
  duration,
  count: (number) => String(number),
  time: (ms, words, lang) => `${moment(ms, lang, { hour: "2-digit", minute: "2-digit" })} ${words.o_clock}`.trim(),
  yes_no: (value, words) => (value ? words.yes : words.no),
};

function figures(facts, face, lang) {
  const words = face.words[lang];
  const found = [];
  for (const { fact, form, named_by: namedBy } of face.figures) {
    const name = namedBy ? facts[namedBy] : "fact_" + fact;
    if (facts[fact] !== undefined && name !== undefined) found.push([words[name], FORMS[form](facts[fact], words, lang)]);
  }
  return found;
}

function asked(prompt, face, lang) {
  if (!prompt || !face.asked || prompt.facts[face.asked.fact] === undefined) return "";
  return FORMS[face.asked.form](prompt.facts[face.asked.fact], face.words[lang], lang);
}

// The view and the sign, a figure that stands large, one sentence, one more, and figures. `state` is null while the
// agent is silent.
export function shownOf(state, face, lang) {
  const words = face.words[lang];
  if (!state) return { view: "gone", sign: "fault", headline: words.gone, detail: words.gone_detail };
  const { view, prompt, choice, answer } = state;
  if (view === "answer") return { view, sign: answer.tone, headline: answer.text[lang], facts: figures(answer.facts, face, lang) };
  if (view === "away") return { view, sign: "fault", headline: words.away, detail: words.away_detail };
  const shown = { view, sign: "card", amount: asked(prompt, face, lang) };
  if (view === "reading") return { ...shown, headline: words.reading, detail: words.reading_detail };
  if (view === "pin") return { ...shown, headline: words.pin, detail: words.pin_detail };
  if (view === "checking") return { ...shown, headline: words.checking };
  if (choice) return { ...shown, view: "chosen", headline: words[choice.key], detail: words.chosen };
  if (prompt) return { ...shown, headline: prompt.text[lang] };
  const name = state.holds_card_alone && words.alone ? "alone" : "idle";
  return { ...shown, headline: words[name], detail: words[name + "_detail"] };
}
