// The page's own texts: t("send") in the language of the page. The server sends the table inside the page.

const CHOICE = "chat.language"; // the user's choice, which localStorage keeps

let [language, texts, plural] = ["en", {}, new Intl.PluralRules("en")];

/** The language of the page, such as "de". */
export const currentLanguage = () => language;

/**
 * Use the language that the server chose, or another one that the user chose earlier, for which this waits.
 */
export async function useLanguage({ language: served, texts: given, languages }) {
  const asked = new URLSearchParams(location.search).get("lang") ?? "";
  if (asked.toLowerCase().startsWith(served.toLowerCase())) localStorage.setItem(CHOICE, served);
  const chosen = localStorage.getItem(CHOICE);
  if (chosen === served || !Object.hasOwn(languages, chosen)) return use(served, document.documentElement.dir, given);
  const answer = await fetch(`languages/${chosen}`).catch(() => null);
  if (!answer?.ok) return use(served, document.documentElement.dir, given);
  const table = await answer.json();
  use(chosen, table.direction, table.texts);
}

function use(name, direction, given) {
  [language, texts, plural] = [name, given, new Intl.PluralRules(name)];
  Object.assign(document.documentElement, { lang: name, dir: direction });
}

/** Choose a language: the page is loaded again in it. */
export function chooseLanguage(name) {
  localStorage.setItem(CHOICE, name);
  const address = new URL(location.href);
  address.searchParams.delete("lang");
  history.replaceState(null, "", address);
  location.reload();
}

/** The text of `key` with its {placeholders} filled in. `count` selects the form of a text that has several. */
export function t(key, values = {}) {
  const forms = texts[key];
  const text = typeof forms === "string" ? forms : forms[plural.select(values.count)] ?? forms.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name]));
}

const number = (value, how) => new Intl.NumberFormat(language, how).format(value);
const unit = (value, name, how) => number(value, { style: "unit", unit: name, unitDisplay: "short", ...how });

/** A duration: "45 sec", "2 min". */
export const duration = (seconds) => (seconds < 120 ? unit(seconds, "second") : unit(Math.ceil(seconds / 60), "minute"));

/** A file's size: "12 kB", "1.5 MB". */
export const fileSize = (bytes) => (bytes < 1e6 ? unit(Math.ceil(bytes / 1e3), "kilobyte") : unit(bytes / 1e6, "megabyte", { maximumFractionDigits: 1 }));

/** A month, such as "May 2026". */
export const monthOf = (date) => date.toLocaleDateString(language, { month: "long", year: "numeric" });
