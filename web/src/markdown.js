// Renders Markdown while it is being streamed. Each token becomes an element; HTML is never parsed, so a model's output
// can only become text or one of the elements below.
import { Blocks, tokensOf } from "./blocks.js";
import { h, icon, iconButton } from "./dom.js";
import { targetBeside } from "./links.js";
import { t } from "./texts.js";

const SCHEMES = new Set(["https:", "http:", "mailto:", "tel:"]);

const MOST_DEPTH = 50; // of elements within each other: browsers fail at some thousands
let depth = 0;

/** Elements for tokens of marked. `loose`: inside a list whose items are paragraphs. */
function drawn(tokens, loose = false) {
  if (depth === MOST_DEPTH) return tokens.map(({ raw }) => raw);
  depth += 1;
  try {
    return tokens.map((token) => (token.type === "text" && loose ? h("p", {}, drawn([token])) : KINDS[token.type]?.(token) ?? token.raw));
  } finally {
    depth -= 1;
  }
}

const KINDS = {
  space: () => "",
  def: () => "",
  hr: () => h("hr"),
  heading: (token) => h(`h${token.depth}`, {}, drawn(token.tokens)),
  paragraph: (token) => h("p", {}, drawn(token.tokens)),
  blockquote: (token) => h("blockquote", {}, drawn(token.tokens)),
  code: (token) => codeBlock((token.lang ?? "").split(/\s/)[0], token.text),
  list: (token) => h(token.ordered ? "ol" : "ul", { start: token.ordered && token.start !== 1 ? token.start : null },
    token.items.map(itemOf)),
  table: (token) => h("div.table", { tabindex: "0", role: "region", "aria-label": t("table") }, h("table", {}, // wide ones scroll
    h("thead", {}, h("tr", {}, token.header.map((cell) => cellOf("th", cell)))),
    h("tbody", {}, token.rows.map(rowOf)))),
  formula: (token) => formula("span.formula", token),
  formulaBlock: (token) => formula("div.formula", token),
  html: (token) => (token.block ? h("p", {}, token.raw.trim()) : token.raw),
  text: (token) => (token.tokens ? h("span", {}, drawn(token.tokens)) : decoded(token.text)),
  escape: (token) => token.text,
  strong: (token) => h("strong", {}, drawn(token.tokens)),
  em: (token) => h("em", {}, drawn(token.tokens)),
  del: (token) => h("del", {}, drawn(token.tokens)),
  codespan: (token) => h("code", {}, token.text),
  br: () => h("br"),
  checkbox: ({ checked }) => h("input", { type: "checkbox", disabled: true, checked, "aria-label": t(checked ? "task_done" : "task_open") }),
  link: (token) => linkTo(token, drawn(token.tokens)),
  // Loading a picture would tell its server who reads what, so it becomes a link.
  image: (token) => linkTo(token, decoded(token.text) || t("picture")),
};

const itemOf = (item) => h("li", {}, drawn(item.tokens, item.loose));
const rowOf = (row) => h("tr", {}, row.map((cell) => cellOf("td", cell)));
const cellOf = (name, cell) => h(name, { align: cell.align }, drawn(cell.tokens));

/**
 * An external link; other schemes than web, mail and telephone stay text. If the text names another site than the
 * target, the target's host is shown beside it.
 */
export function linkTo({ href, title, raw }, content) {
  const url = URL.canParse(decoded(href)) ? new URL(decoded(href)) : null; // no relative links: they would lead to this site
  if (!SCHEMES.has(url?.protocol)) return raw;
  const link = h("a", { href: url.href, title, target: "_blank", rel: "noopener noreferrer nofollow" }, content);
  const beside = targetBeside(link.textContent, url);
  if (beside) link.append(h("span.target", {}, ` (${beside})`));
  return link;
}

/** A formula: its source until the library that draws it has come, and where it does not come. */
function formula(name, { raw, tex, display }) {
  const element = h(name, { tabindex: display ? "0" : null }, raw.trim());
  import("./math.js").then(({ drawFormula }) => drawFormula(element, tex, display)).catch(() => {}); // offline: the source stays
  return element;
}

/** The text with entities such as &amp; replaced. */
const decoded = (text) => text.replace(/&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z]\w{1,31});/gi, (entity) => (
  new DOMParser().parseFromString(entity, "text/html").body.textContent));

function codeBlock(lang, text) {
  const code = h("code", {}, text);
  const copy = iconButton("copy", t("copy_code"), () => copied(copy, code.textContent));
  const block = h("figure.code", {}, h("figcaption", {}, h("span", {}, lang || t("plain_text")), copy),
    h("pre", { tabindex: "0", "aria-label": t("code_in", { language: lang || t("plain_text") }) }, code));
  block.dataset.lang = lang;
  return block;
}

/** Copy the text and show the result on the button for a moment. */
export async function copied(button, text) {
  const label = button.getAttribute("aria-label");
  const ended = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  button.replaceChildren(icon(ended ? "check" : "close"));
  button.setAttribute("aria-label", t(ended ? "copied" : "copy_failed"));
  setTimeout(() => {
    button.replaceChildren(icon("copy"));
    button.setAttribute("aria-label", label);
  }, 1500);
}

const DEFINITION = /^ {0,3}\[[^\]]+\]:\s/m;

/** <chat-markdown>: call show(text, ended) whenever the text grows. */
export class ChatMarkdown extends HTMLElement {
  #blocks = new Blocks();
  #text = "";
  #tail = h("div.tail");
  #kind = null; // of the block in the tail

  show(text, ended) {
    if (text === this.#text && ended === !this.#tail.isConnected && this.firstChild) return;
    if (ended && DEFINITION.test(text)) { // a link's target may be defined after the link
      this.#tail.remove();
      this.replaceChildren();
      this.#add(drawn(tokensOf(text)));
    } else {
      if (!this.#tail.isConnected || !text.startsWith(this.#text)) {
        this.#blocks = new Blocks();
        this.replaceChildren(this.#tail);
      }
      const { settled, tail } = this.#blocks.take(text, { ended });
      if (settled.length) this.#settle(settled);
      if (ended) this.#tail.remove();
      else this.#grow(tail);
    }
    this.#text = text;
  }

  #settle([first, ...rest]) {
    this.#grow(first); // and keep its element: a button in it may have the focus
    const elements = [...this.#tail.childNodes, ...drawn(rest)];
    this.#kind = null;
    this.#add(elements);
  }

  #add(elements) {
    if (this.#tail.isConnected) this.#tail.before(...elements);
    else this.append(...elements);
    for (const element of elements) for (const figure of codeIn(element)) highlight(figure);
  }

  /** Draw the block that may still grow; of a long one only what is new. */
  #grow(token) {
    const [kind, place, grow] = GROWING[token?.type]?.(token) ?? [null];
    const target = kind !== null && kind === this.#kind && this.#tail.querySelector(place);
    this.#kind = kind;
    if (!target || !grow(target)) this.#tail.replaceChildren(...(token ? drawn([token]) : []));
  }
}

/** Blocks that may be long: what must stay the same while they grow, where they grow, and how: false if they cannot. */
const GROWING = {
  code: ({ lang, text }) => [`code ${lang}`, "code", (code) => {
    const node = code.firstChild ?? code.appendChild(new Text());
    if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
    else node.data = text;
    return true;
  }],
  table: ({ align, header, rows }) => [`table ${align} ${header.map(({ text }) => text)}`, "tbody", (body) => growParts(body, rows, rowOf)],
  list: ({ ordered, loose, items }) => [`list ${ordered} ${loose}`, ":scope > *", (list) => growParts(list, items, itemOf)],
};

/** Add the parts that are new, and draw the last one again. */
function growParts(parent, parts, draw) {
  const count = Math.max(parent.childElementCount - 1, 0);
  if (parts.length <= count) return false;
  parent.lastElementChild?.remove();
  parent.append(...parts.slice(count).map(draw));
  return true;
}

const codeIn = (node) => (node.matches?.("figure.code") ? [node] : node.querySelectorAll?.("figure.code") ?? []);

/** Highlight code when the browser is idle; this does not change the layout. */
function highlight(figure) {
  if (!figure.dataset.lang) return;
  const color = async () => {
    const { highlighted } = await import("./highlight.js");
    const code = figure.querySelector("code");
    const tokens = highlighted(code.textContent, figure.dataset.lang.toLowerCase());
    if (tokens) code.replaceChildren(tokens);
  };
  (window.requestIdleCallback ?? setTimeout)(() => color().catch(() => {})); // offline: the code stays plain
}

customElements.define("chat-markdown", ChatMarkdown);
