// Finds formulas in Markdown: \( \) and $ $ within a line, \[ \] and $$ $$ on their own. Pure: math.js draws them.

const BLOCK = /^ {0,3}(?:\$\$((?:(?!\$\$|\n\s*\n)[^])+)\$\$|\\\[((?:(?!\\\]|\n\s*\n)[^])+)\\\])[ \t]*(?:\n+|$)/;
const DISPLAY = /^(?:\$\$((?:(?!\$\$)[^\n])+)\$\$|\\\[((?:(?!\\\])[^\n])+)\\\])/;
// A dollar sign begins a formula only without a space after it, and ends one only without a space before it and a digit
// after it: prices such as $5 and $10 stay text.
const INLINE = /^(?:\\\(((?:(?!\\\))[^])+?)\\\)|\$(?![\s$])((?:\\[^]|[^$\\\n])*?[^\s\\$])\$(?![\d$]))/;

const token = (type, expression, display) => (source) => {
  const match = expression.exec(source);
  return match ? { type, raw: match[0], tex: (match[1] ?? match[2]).trim(), display } : undefined;
};

/** Extensions of marked. */
export const formulas = [
  { name: "formulaBlock", level: "block", start: (source) => /(?<=\n {0,3})(?:\$\$|\\\[)/.exec(source)?.index, tokenizer: token("formulaBlock", BLOCK, true) },
  { name: "formulaDisplay", level: "inline", start: (source) => /\$\$|\\\[/.exec(source)?.index, tokenizer: token("formula", DISPLAY, true) },
  { name: "formula", level: "inline", start: (source) => /\$|\\\(/.exec(source)?.index, tokenizer: token("formula", INLINE, false) },
];
