// The colours of code: a few languages, loaded when the first block of code is shown. Tokens become spans, never markup.
import bash from "@speed-highlight/core/languages/bash.js";
import css from "@speed-highlight/core/languages/css.js";
import diff from "@speed-highlight/core/languages/diff.js";
import go from "@speed-highlight/core/languages/go.js";
import html from "@speed-highlight/core/languages/html.js";
import js from "@speed-highlight/core/languages/js.js";
import json from "@speed-highlight/core/languages/json.js";
import py from "@speed-highlight/core/languages/py.js";
import sql from "@speed-highlight/core/languages/sql.js";
import ts from "@speed-highlight/core/languages/ts.js";
import yaml from "@speed-highlight/core/languages/yaml.js";
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
    if (!type) return fragment.append(text);
    const span = document.createElement("span");
    span.className = type;
    span.textContent = text;
    fragment.append(span);
  }, { languages });
  return fragment;
}
