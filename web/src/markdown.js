// Markdown on the screen, while it is still being written. Tokens become elements, one kind each; no HTML is ever parsed,
// so whatever a model says, in markup or not, can only become text, or one of the elements below.
import { Blocks, tokensOf } from "./blocks.js";
import { h, icon, iconButton } from "./dom.js";
import { targetBeside } from "./links.js";

const SCHEMES = new Set(["https:", "http:", "mailto:", "tel:"]);

/** The elements of some tokens of marked's. `loose`: in a list whose items are paragraphs. */
function drawn(tokens, loose = false) {
  return tokens.map((token) => (token.type === "text" && loose ? h("p", {}, drawn([token])) : KINDS[token.type]?.(token) ?? token.raw));
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
    token.items.map((item) => h("li", {}, drawn(item.tokens, item.loose)))),
  table: (token) => h("div.table", { tabindex: "0", role: "region", "aria-label": "Table" }, h("table", {}, // wide ones scroll
    h("thead", {}, h("tr", {}, token.header.map((cell) => cellOf("th", cell)))),
    h("tbody", {}, token.rows.map((row) => h("tr", {}, row.map((cell) => cellOf("td", cell))))))),
  html: (token) => (token.block ? h("p", {}, token.raw.trim()) : token.raw),
  text: (token) => (token.tokens ? h("span", {}, drawn(token.tokens)) : decoded(token.text)),
  escape: (token) => token.text,
  strong: (token) => h("strong", {}, drawn(token.tokens)),
  em: (token) => h("em", {}, drawn(token.tokens)),
  del: (token) => h("del", {}, drawn(token.tokens)),
  codespan: (token) => h("code", {}, token.text),
  br: () => h("br"),
  checkbox: ({ checked }) => h("input", { type: "checkbox", disabled: true, checked, "aria-label": checked ? "Done" : "To do" }),
  link: (token) => linkTo(token, drawn(token.tokens)),
  // A picture elsewhere tells its server who reads, and what: so it is a link that one may follow.
  image: (token) => linkTo(token, decoded(token.text) || "Picture"),
};

const cellOf = (name, cell) => h(name, { align: cell.align }, drawn(cell.tokens));

/**
 * A link out of this page; anything but a site, a mailbox or a telephone number stays text. If its text names another
 * site than its target, the target's host is shown beside the text.
 */
export function linkTo({ href, title, raw }, content) {
  const url = URL.canParse(decoded(href)) ? new URL(decoded(href)) : null; // nothing relative: it would be a part of us
  if (!SCHEMES.has(url?.protocol)) return raw;
  const link = h("a", { href: url.href, title, target: "_blank", rel: "noopener noreferrer nofollow" }, content);
  const beside = targetBeside(link.textContent, url);
  if (beside) link.append(h("span.target", {}, ` (${beside})`));
  return link;
}

/** Text in which markdown's entities (&amp;) are what they stand for. */
const decoded = (text) => text.replace(/&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z]\w{1,31});/gi, (entity) => (
  new DOMParser().parseFromString(entity, "text/html").body.textContent));

function codeBlock(lang, text) {
  const code = h("code", {}, text);
  const copy = iconButton("copy", "Copy code", () => copied(copy, code.textContent));
  const block = h("figure.code", {}, h("figcaption", {}, h("span", {}, lang || "text"), copy),
    h("pre", { tabindex: "0", "aria-label": `Code, ${lang || "text"}` }, code));
  block.dataset.lang = lang;
  return block;
}

/** Copy, and say so on the button for a while. */
export async function copied(button, text) {
  const label = button.getAttribute("aria-label");
  const ended = await navigator.clipboard.writeText(text).then(() => "Copied", () => "Could not copy");
  button.replaceChildren(icon(ended === "Copied" ? "check" : "close"));
  button.setAttribute("aria-label", ended);
  setTimeout(() => {
    button.replaceChildren(icon("copy"));
    button.setAttribute("aria-label", label);
  }, 1500);
}

const DEFINITION = /^ {0,3}\[[^\]]+\]:\s/m;

/** <chat-markdown>: show(text, ended) as often as the text grows. */
export class ChatMarkdown extends HTMLElement {
  #blocks = new Blocks();
  #text = "";
  #tail = h("div.tail");

  show(text, ended) {
    if (text === this.#text && ended === !this.#tail.isConnected && this.firstChild) return;
    if (ended && DEFINITION.test(text)) { // what a link means may be said after it
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

  #settle(tokens) {
    const last = this.#tail.firstElementChild;
    const elements = drawn(tokens);
    if (tokens[0].type === "code" && last?.matches("figure.code")) { // its button may have the focus
      last.querySelector("code").textContent = tokens[0].text;
      elements[0] = last;
    }
    this.#tail.replaceChildren();
    this.#add(elements);
  }

  #add(elements) {
    if (this.#tail.isConnected) this.#tail.before(...elements);
    else this.append(...elements);
    for (const element of elements) for (const figure of codeIn(element)) highlight(figure);
  }

  #grow(token) {
    const code = this.#tail.querySelector(":scope > figure.code code");
    if (!token || token.type !== "code" || !code) return this.#tail.replaceChildren(...(token ? drawn([token]) : []));
    const text = code.firstChild ?? code.appendChild(new Text());
    if (token.text.startsWith(text.data)) text.appendData(token.text.slice(text.data.length));
    else text.data = token.text;
  }
}

const codeIn = (node) => (node.matches?.("figure.code") ? [node] : node.querySelectorAll?.("figure.code") ?? []);

/** Colours come when there is time, and change no size. */
function highlight(figure) {
  if (!figure.dataset.lang) return;
  const colour = async () => {
    const { coloured } = await import("./highlight.js");
    const code = figure.querySelector("code");
    const tokens = coloured(code.textContent, figure.dataset.lang.toLowerCase());
    if (tokens) code.replaceChildren(tokens);
  };
  (window.requestIdleCallback ?? setTimeout)(() => colour().catch(() => {})); // offline: the code stays as it is
}

customElements.define("chat-markdown", ChatMarkdown);
