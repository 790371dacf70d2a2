// Syntax highlighting for a few languages, loaded with the first code block. Tokens become spans, never markup.
import { bash, css, diff, go, html, js, json, py, sql, ts, yaml } from "@speed-highlight/core/languages";
import { tokenizeWith } from "@speed-highlight/core/tokenize";

const languages = {
  bash, css, diff, go, html, js, json, py, sql, ts, yaml,
  javascript: js, jsx: js, mjs: js, python: py, sh: bash, shell: bash, svg: html, tsx: ts, typescript: ts, xml: html,
  yml: yaml, zsh: bash,
};
const MOST_CHARS = 50_000; // longer code stays plain, because highlighting it would block the page

/** The code as text and spans with classes, or null for an unsupported language. */
export function highlighted(code, lang) {
  const language = Object.hasOwn(languages, lang) ? languages[lang] : null;
  if (!language || code.length > MOST_CHARS) return null;
  const fragment = new DocumentFragment();
  tokenizeWith(code, language, (text, type) => {
    fragment.append(type ? Object.assign(document.createElement("span"), { className: type, textContent: text }) : text);
  }, { languages });
  return fragment;
}
