// Markdown on the screen, while it is still being written, and nothing in it that could run or load.
import DOMPurify from "dompurify";
import { Blocks } from "./blocks.js";
import { h, iconButton, icon } from "./dom.js";

const TAGS = (
  "a b blockquote br code del div em h1 h2 h3 h4 h5 h6 hr i input li ol p pre s strong sub sup table tbody td th thead tr ul"
).split(" ");
const SAFE = {
  ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ["href", "title", "class", "align", "start", "type", "checked", "disabled"],
  ADD_URI_SAFE_ATTR: ["align", "start", "type", "checked", "disabled"], ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false, RETURN_DOM_FRAGMENT: true,
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|tel:)/i, // nothing relative: what a model says is no part of this page
};

const purify = DOMPurify(window);
purify.addHook("uponSanitizeAttribute", (element, attribute) => {
  if (attribute.attrName === "class") attribute.keepAttr = /^language-[\w+#.-]+$/.test(attribute.attrValue);
});
purify.addHook("afterSanitizeAttributes", (element) => {
  if (element.tagName === "A") {
    element.setAttribute("target", "_blank");
    element.setAttribute("rel", "noopener noreferrer nofollow");
  }
  if (element.tagName === "INPUT") {
    if (element.type !== "checkbox") return element.remove();
    element.disabled = true; // the box of a task list
    element.setAttribute("aria-label", element.checked ? "Done" : "To do");
  }
});

/** The elements of `html`, without whatever could run, load, or look like a part of this page. */
export function safe(html) {
  const fragment = purify.sanitize(html, SAFE);
  for (const table of fragment.querySelectorAll("table")) {
    const frame = h("div.table", { tabindex: "0", role: "region", "aria-label": "Table" }); // wide ones scroll
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const code of fragment.querySelectorAll("pre > code")) code.parentElement.replaceWith(codeBlock(languageOf(code), code.textContent.replace(/\n$/, "")));
  return fragment;
}

const languageOf = (code) => /language-(\S+)/.exec(code.className)?.[1] ?? "";

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
    const refers = ended && DEFINITION.test(text); // what a link means may be said after it
    const grows = this.#tail.isConnected && text.startsWith(this.#text) && !refers;
    if (!grows) {
      this.#blocks = new Blocks();
      this.replaceChildren(this.#tail);
    }
    this.#text = text;
    const { settled, tail } = this.#blocks.take(text, { ended });
    if (settled.length) this.#settle(settled);
    if (ended) this.#tail.remove();
    else this.#grow(tail);
  }

  #settle(blocks) {
    const drawn = this.#tail.firstElementChild;
    const fragment = safe(blocks.join(""));
    const first = fragment.firstElementChild;
    if (first?.matches("figure.code") && drawn?.matches("figure.code")) { // its button may have the focus
      drawn.querySelector("code").textContent = first.querySelector("code").textContent;
      first.replaceWith(drawn);
    }
    this.#tail.replaceChildren();
    const figures = [...fragment.querySelectorAll("figure.code")];
    this.#tail.before(fragment);
    for (const figure of figures) highlight(figure);
  }

  #grow({ html, code }) {
    const drawn = this.#tail.firstElementChild;
    if (!code) this.#tail.replaceChildren(safe(html));
    else if (drawn?.matches("figure.code")) {
      const text = drawn.querySelector("code").firstChild ?? drawn.querySelector("code").appendChild(new Text());
      if (code.text.startsWith(text.data)) text.appendData(code.text.slice(text.data.length));
      else text.data = code.text;
    } else this.#tail.replaceChildren(codeBlock(code.lang.split(/\s/)[0], code.text));
  }
}

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
