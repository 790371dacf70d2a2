// The messages of a conversation: one element per item, redrawn only if the item changed, at most once per frame.
import { disable, h, icon, iconButton } from "./dom.js";
import { editor } from "./editor.js";
import { wordsOf } from "./fold.js";
import { structuredInput, toolCall } from "./forms.js";
import { copied } from "./markdown.js";
import { picture } from "./pictures.js";
import { sources, spinner, task, workflow } from "./tasks.js";
import { fileSize, t } from "./texts.js";
import { widget } from "./widgets.js";

const KINDS = { // of files: what their chips say
  "application/pdf": "PDF", "text/markdown": "Markdown", "text/csv": "CSV", "application/json": "JSON",
};

const REST = 3; // a pause of three times its duration follows a draw, so a long table leaves time for everything else
const ACTED_ON = new Set(["widget", "structured_input", "client_tool_call"]); // items that only the user answers

/** <chat-messages>: shows its `conversation`. Dispatches "sent" and "refused" with { error }. */
export class ChatMessages extends HTMLElement {
  #rows = new Map(); // item id -> row
  #changed = new Set();
  #frame = 0;
  #restsUntil = 0;
  #unlisten = new AbortController();
  #kinds = new Map(); // item id -> feedback given

  connectedCallback() {
    this.earlier = h("button.link.earlier", { type: "button", hidden: true, onclick: () => this.#loadEarlier() }, t("show_earlier"));
    this.list = h("div.items");
    this.foot = h("div.foot");
    this.replaceChildren(this.earlier, this.list, this.foot);
  }

  set conversation(conversation) {
    this.#unlisten.abort();
    this.#unlisten = new AbortController();
    const { signal } = this.#unlisten;
    this.#now = conversation;
    this.#rows.clear();
    this.list.replaceChildren();
    conversation.addEventListener("items", ({ detail }) => this.#mark(detail), { signal });
    conversation.addEventListener("state", () => this.#schedule(), { signal });
    this.#changed = new Set(conversation.items.keys());
    this.#draw();
  }
  #now = null;

  #mark({ ids, all, renamed, now }) {
    if (renamed) this.#rename(...renamed);
    for (const id of all ? this.#now.items.keys() : ids) this.#changed.add(id);
    if (now) this.#draw();
    else this.#schedule();
  }

  #rename(pending, id) { // the text is the same, so the row stays as it is
    const row = this.#rows.get(pending);
    this.#rows.delete(pending);
    if (!row) return;
    this.#rows.get(id)?.remove(); // the thread was loaded in between and already had it
    this.#rows.set(id, row);
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame((now) => {
      this.#frame = 0;
      if (now < this.#restsUntil) this.#schedule();
      else this.#draw();
    });
  }

  /** Draw the changes immediately. */
  #draw() {
    const began = performance.now();
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { items, running, progress } = this.#now;
    for (const [id, row] of this.#rows) if (!items.has(id)) { row.remove(); this.#rows.delete(id); }
    let place = this.list.firstChild;
    const last = [...items.keys()].at(-1);
    const editable = this.#now.editable?.id;
    const asked = this.#now.askedBefore()?.id;
    let isNew = !asked; // whether the item belongs to the answer to the last message
    for (const [id, item] of items) {
      let row = this.#rows.get(id);
      if (!row) this.#rows.set(id, (row = h(`article.row.is-${item.type}`)));
      if (row !== place) this.list.insertBefore(row, place);
      else place = place.nextSibling;
      isNew ||= id === asked;
      const live = Boolean(running) && (item.type === "workflow" ? isNew : id === last && item.type === "assistant_message");
      if (!this.#changed.has(id) && row.live === live && row.editable === (id === editable)) continue;
      row.live = live;
      row.editable = id === editable;
      try {
        this.#show(row, item, live);
      } catch (error) { // such as a widget that is not ChatKit's: the other items are shown
        console.warn(error);
        row.replaceChildren(h("p.lost", {}, t("not_drawn")));
      }
      if (this.#now.readOnly && ACTED_ON.has(item.type)) disable(row);
    }
    this.#changed.clear();
    this.earlier.hidden = !this.#now.before;
    const said = progress?.text ?? (running && items.get(last)?.type === "user_message" ? t("thinking") : null);
    const shown = this.foot.querySelector(".progress span:last-child");
    if (said && shown) shown.textContent = said;
    else this.foot.replaceChildren(said ? h("div.progress", { role: "status" }, spinner(), h("span", {}, said)) : "");
    this.getBoundingClientRect(); // so that the time of the layout counts
    this.#restsUntil = performance.now() + REST * (performance.now() - began);
  }

  #show(row, item, live) {
    const now = this.#now;
    const was = row.firstElementChild;
    switch (item.type) {
      case "user_message": return this.#userMessage(row, item);
      case "assistant_message": return this.#assistantMessage(row, item, live);
      case "widget": return row.replaceChildren(widget(item, { act: (action) => now.act(action, item) }));
      case "workflow": {
        const focused = [...row.querySelectorAll("summary")].indexOf(document.activeElement);
        row.replaceChildren(workflow(item, { live, was }));
        return row.querySelectorAll("summary")[focused]?.focus({ preventScroll: true });
      }
      case "task": return row.replaceChildren(task(item));
      case "generated_image": return row.replaceChildren(generatedImage(item));
      case "structured_input":
        return row.replaceChildren(structuredInput(item, { was: was?.matches("form") ? was : null, send: (input) => { now.answerForm(item, input); this.#sent(); } }));
      case "client_tool_call":
        return row.replaceChildren(toolCall(item, { was, send: (result) => { now.answerTool(item, result); this.#sent(); } }) ?? "");
      default: // hidden context and the end of a turn are not shown
        row.hidden = true;
    }
  }

  /** The control that the user pressed is about to go. */
  #sent() { this.dispatchEvent(new Event("sent")); }

  #userMessage(row, item) {
    const now = this.#now;
    const text = wordsOf(item);
    const above = [h("h2.unseen", {}, t(now.readOnly ? "operator_user" : "you")),
      item.attachments?.length ? h("div.files", {}, item.attachments.map((file) => this.#attachment(file))) : "",
      item.quoted_text ? h("blockquote.quoted", {}, item.quoted_text) : ""];
    if (row.editable && now.editing?.id === item.id) {
      if (row.querySelector(".editor")) return;
      row.replaceChildren(...above, editor(now.editing.text, {
        was: text,
        write: (changed) => { now.editing.text = changed; },
        cancel: () => { now.edit(null); row.querySelector(".pencil")?.focus(); },
        send: (changed) => { now.resend(item, changed); this.#sent(); },
      }));
      return row.querySelector("textarea").focus();
    }
    const copy = iconButton("copy", t("copy_message"), () => copied(copy, text));
    const pencil = row.editable && iconButton("pencil", t("edit_message"), () => now.edit({ id: item.id, text }), { class: "icon pencil" });
    row.replaceChildren(...above, text ? h("div.bubble", {}, text) : "", text || pencil ? h("div.actions", {}, pencil, text && copy) : "");
  }

  #attachment(file) {
    const opening = (name) => ({ type: "button", "aria-label": t("open_file", { name }), title: file.name, onclick: () => this.#openFile(file) });
    if (file.type === "image" && file.preview_url) return h("button.shot", opening(file.name), h("img", { src: file.preview_url, alt: file.name }));
    const details = [file.mime_type === "text/plain" ? t("text_file") : KINDS[file.mime_type], file.size && fileSize(file.size)].filter(Boolean).join(" · ");
    return h("button.chip.file", opening(`${file.name} ${details}`), icon("document"), h("span", {}, file.name), " ", h("span.detail", {}, details));
  }

  /** Open an attached file in a tab, by a URL that is signed now. */
  async #openFile(file) {
    const tab = window.open("", "_blank"); // at once: browsers allow it only during a click
    try {
      if (!tab) throw new Error(t("tab_blocked"));
      tab.opener = null;
      tab.location.replace(await this.#now.fileUrl(file));
    } catch (error) {
      tab?.close();
      this.dispatchEvent(new CustomEvent("refused", { detail: { error } }));
    }
  }

  /** What a click on a source does: nothing, unless it is a file of this thread. */
  #opening(source) {
    const file = source.type === "file" && this.#now.fileNamed(source.filename);
    return file ? () => this.#openFile(file) : null;
  }

  #assistantMessage(row, item, live) {
    if (!row.firstChild) row.append(h("h2.unseen", {}, t("assistant")), h("div.parts"), h("div.actions"));
    const [, parts, actions] = row.children;
    item.content.forEach((part, index) => {
      const element = parts.children[index] ?? parts.appendChild(h("div", {}, h("chat-markdown"), h("div.cited")));
      element.firstChild.show(part.text, !live);
      const cited = part.annotations.filter(Boolean);
      if (cited.length !== element.lastChild.childElementCount) element.lastChild.replaceChildren(cited.length ? sources(cited.map((one) => one.source), (source) => this.#opening(source)) : "");
    });
    if (live) return actions.replaceChildren(); // its place is kept: nothing jumps when the buttons come
    if (!actions.firstChild) actions.append(...this.#actions(item));
  }

  #actions(item) {
    const copy = iconButton("copy", t("copy_answer"), () => copied(copy, wordsOf(this.#now.items.get(item.id))));
    if (this.#now.readOnly) return [copy];
    const [good, bad] = [["thumb-up", t("good_answer"), "positive"], ["thumb-down", t("bad_answer"), "negative"]].map(([sign, label, kind]) =>
      iconButton(sign, label, (event) => this.#feedback(item, kind, event.currentTarget), { "aria-pressed": String(this.#kinds.get(item.id) === kind) }));
    const again = iconButton("reload", t("answer_again"), () => {
      const asked = this.#now.askedBefore(this.#now.items.get(item.id));
      if (!asked) return;
      this.#now.retry(asked);
      this.#sent();
    });
    return [copy, good, bad, again];
  }

  async #feedback(item, kind, button) {
    const pressed = (value) => {
      for (const one of button.parentElement.querySelectorAll("[aria-pressed]")) one.setAttribute("aria-pressed", String(value && one === button));
    };
    pressed(true);
    this.#kinds.set(item.id, kind);
    await this.#now.rate(item, kind).catch((error) => {
      pressed(false);
      this.#kinds.delete(item.id);
      this.dispatchEvent(new CustomEvent("refused", { detail: { error } }));
    });
  }

  async #loadEarlier() {
    const [view, now] = [this.parentElement, this.#now];
    const rest = view.scrollHeight - view.scrollTop;
    this.earlier.disabled = true;
    await now.loadEarlier().catch((error) => this.dispatchEvent(new CustomEvent("refused", { detail: { error } })));
    this.earlier.disabled = false;
    if (now !== this.#now) return; // another thread is on the screen
    this.#draw();
    view.scrollTop = view.scrollHeight - rest; // what was read stays where it was
  }
}

function generatedImage(item) {
  if (!item.image) return h("div.picture.waiting", { role: "status" }, spinner(), h("span.unseen", {}, t("making_picture")));
  return h("div.picture", {}, picture(item.image.url, t("picture_by_assistant")));
}

customElements.define("chat-messages", ChatMessages);
