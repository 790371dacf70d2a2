// The colours of code: a few languages, loaded when the first block of code is shown. Tokens become spans, never markup.
import { bash, css, diff, go, html, js, json, py, sql, ts, yaml } from "@speed-highlight/core/languages";
import { tokenizeWith } from "@speed-highlight/core/tokenize";

const languages = {
  bash, css, diff, go, html, js, json, py, sql, ts, yaml,
  javascript: js, jsx: js, mjs: js, python: py, sh: bash, shell: bash, svg: html, tsx: ts, typescript: ts, xml: html,
  yml: yaml, zsh: bash,
};
const MOST_CHARS = 50_000; // longer code keeps one colour: it would hold up the page

/** The code as text and spans with classes, or null for a language that is none of ours. */
export function coloured(code, lang) {
  const language = Object.hasOwn(languages, lang) ? languages[lang] : null;
  if (!language || code.length > MOST_CHARS) return null;
  const fragment = new DocumentFragment();
  tokenizeWith(code, language, (text, type) => {
    fragment.append(type ? Object.assign(document.createElement("span"), { className: type, textContent: text }) : text);
  }, { languages });
  return fragment;
}
