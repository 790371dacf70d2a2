// The list of threads: open, filter, rename, delete. Knows the server's requests for threads; knows no message.
import { confirmed } from "./confirm.js";
import { h, icon, iconButton, skeleton } from "./dom.js";
import { monthOf, t } from "./texts.js";

const PAGE = 50;
const SEARCHED = 100; // threads in one request while the filter searches older ones: the server's maximum
const ENOUGH = 20; // matches of the filter; with fewer, older threads are loaded, too

/** <chat-threads>: dispatches "open" with { thread } (null: a new one), "renamed" with { thread } and "gone" with { id }. */
export class ChatThreads extends HTMLElement {
  #threads = [];
  #kept = new Map(); // threads that changed since the list was requested, by id: they are newer than the response
  #after = null;
  #current = null;
  #asked = 0;
  #gone = new Set(); // ids of deleted threads, whose last answer may still be on its way
  #loading = false;

  connectedCallback() {
    this.filter = h("input", {
      type: "search", placeholder: t("filter_by_title"), "aria-label": t("filter_chats"), oninput: () => this.#draw(),
    });
    this.list = h("div.list");
    this.skeleton = skeleton(5);
    this.more = h("button.link", { type: "button", hidden: true, onclick: () => this.#load(this.#after) }, t("show_more"));
    this.status = h("p.status", { role: "status" });
    this.replaceChildren(
      h("button.new", { type: "button", onclick: () => this.#open(null) }, icon("plus"), h("span", {}, t("new_chat"))),
      h("label.filter", {}, icon("search"), this.filter), this.status, this.skeleton, this.list, this.more);
  }

  set api(api) {
    this.#api = api;
    this.#asked += 1; // ignore responses to the previous user
    this.#threads = [];
    this.#gone.clear();
    this.#after = null;
    this.#loading = false;
    this.list.replaceChildren();
    this.filter.value = "";
    this.#draw();
  }
  #api;

  /** The id of the open thread, or null. */
  set current(id) {
    this.#current = id;
    for (const row of this.#rows) row.querySelector("button.title")?.toggleAttribute("aria-current", row.dataset.id === id);
  }

  get #rows() { return [...this.list.querySelectorAll("li")]; }

  find(id) { return this.#threads.find((thread) => thread.id === id) ?? null; }

  /** Add or update a thread. */
  keep(thread) {
    if (this.#gone.has(thread.id)) return;
    this.#kept.set(thread.id, thread);
    const known = this.#threads.findIndex((one) => one.id === thread.id);
    if (known >= 0) this.#threads[known] = thread;
    else this.#threads.unshift(thread);
    this.#draw();
  }

  /** Remove deleted threads. */
  drop(ids) {
    for (const id of ids) this.#gone.add(id);
    this.#threads = this.#threads.filter(({ id }) => !this.#gone.has(id));
    this.#draw();
  }

  /** Reload the list. `loaded` resolves when that is done, even if it failed. */
  refresh() { this.loaded = this.#load(null); }

  async #load(after) {
    const asked = ++this.#asked; // only the latest response counts
    this.#kept.clear();
    this.#loading = true;
    this.skeleton.hidden = this.#threads.length > 0;
    if (!this.#threads.length) this.status.replaceChildren(h("span.unseen", {}, t("loading")));
    try {
      const page = await this.#api.call("threads.list", { limit: this.filter.value ? SEARCHED : PAGE, order: "desc", after });
      if (asked !== this.#asked) return;
      this.#loading = false;
      page.data = page.data.filter(({ id }) => !this.#gone.has(id));
      const listed = new Set(page.data.map(({ id }) => id));
      const before = after ? this.#threads : [...this.#kept.values()].reverse();
      this.#threads = [...before.filter(({ id }) => !listed.has(id)), ...page.data.map((one) => this.#kept.get(one.id) ?? one)];
      this.#after = page.has_more ? page.after : null;
      this.#draw();
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#loading = false;
      this.skeleton.hidden = true;
      const again = h("button.link", { type: "button", onclick: () => this.#load(after) }, t("try_again"));
      this.status.replaceChildren(`${error.message} `, again);
    }
  }

  #draw() {
    if (this.list.querySelector("form")) return; // the user is editing a title
    const row = document.activeElement?.closest("chat-threads li");
    const place = row && [...row.querySelectorAll("button")].indexOf(document.activeElement);
    const wanted = this.filter.value.trim().toLowerCase();
    const shown = this.#threads.filter((thread) => titleOf(thread).toLowerCase().includes(wanted));
    const periods = new Map(); // in the order of the list
    for (const thread of shown) {
      const period = periodOf(thread);
      if (!periods.has(period)) periods.set(period, []);
      periods.get(period).push(this.#row(thread));
    }
    this.list.replaceChildren(...[...periods].map(([period, rows]) => h("section", {}, h("h2", {}, period), h("ul", {}, rows))));
    if (row) this.#rowOf(row.dataset.id)?.querySelectorAll("button")[place]?.focus({ preventScroll: true }); // where it was
    this.more.hidden = this.#after === null;
    this.skeleton.hidden = true;
    if (wanted && this.#after && shown.length < ENOUGH) {
      this.status.textContent = t("loading");
      if (!this.#loading) this.#load(this.#after);
    } else this.status.textContent = shown.length ? "" : wanted ? t("no_title_matches") : t("chats_appear_here");
  }

  #row(thread) {
    const title = titleOf(thread);
    const open = h("button.title", { type: "button", title, dir: "auto", onclick: () => this.#open(thread) }, title);
    open.toggleAttribute("aria-current", thread.id === this.#current);
    const row = h("li", {}, open, h("span.actions", {},
      iconButton("pencil", t("rename_chat", { title }), () => this.#rename(row, thread)),
      iconButton("trash", t("delete_chat", { title }), () => this.#delete(row, thread))));
    row.dataset.id = thread.id;
    return row;
  }

  #rowOf(id) { return this.list.querySelector(`[data-id="${CSS.escape(id)}"]`); }

  #titled(id) { return this.#rowOf(id)?.querySelector(".title"); }

  #open(thread) { this.dispatchEvent(new CustomEvent("open", { detail: { thread } })); }

  #rename(row, thread) {
    const input = h("input", { value: titleOf(thread), "aria-label": t("chat_title"), dir: "auto", maxlength: 200 });
    const close = () => {
      form.remove(); // first, because #draw does nothing while there is a form
      this.#draw();
      this.#titled(thread.id)?.focus();
    };
    const form = h("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        const title = input.value.trim();
        if (!title || title === titleOf(thread)) return close();
        try {
          Object.assign(thread, await this.#api.call("threads.update", { thread_id: thread.id, title }), { items: undefined });
          close();
          this.dispatchEvent(new CustomEvent("renamed", { detail: { thread } }));
        } catch (error) {
          this.status.textContent = error.message;
        }
      },
      onkeydown: (event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation(); // it closes nothing else
        close();
      },
    }, input, iconButton("check", t("save_title"), () => {}, { type: "submit" }), iconButton("close", t("keep_title"), close));
    row.replaceChildren(form);
    input.select();
  }

  async #delete(row, thread) {
    const rows = this.#rows;
    const id = (rows[rows.indexOf(row) + 1] ?? rows[rows.indexOf(row) - 1])?.dataset.id;
    if (!(await confirmed(t("delete_question", { title: titleOf(thread) }), t("delete_consequence"), t("delete")))) return;
    try {
      await this.#api.call("threads.delete", { thread_id: thread.id });
      this.drop([thread.id]);
      (id ? this.#titled(id) : this.querySelector(".new"))?.focus();
      this.dispatchEvent(new CustomEvent("gone", { detail: { id: thread.id } }));
    } catch (error) {
      this.status.textContent = error.message;
    }
  }
}

/** The heading under which a thread is listed, by the day of its creation: Today, Yesterday, ... or its month. */
function periodOf({ created_at: created }, now = new Date()) {
  const ago = startOfDay(now) - startOfDay(new Date(created)); // less than 0 if a clock is wrong
  const days = Math.max(0, Math.round(ago / 86_400_000)); // of 23 to 25 hours each
  const recent = ["today", "yesterday"].map((key) => t(key))[days] ?? [7, 30].map((count) => days < count && t("last_days", { count })).find(Boolean);
  return recent ?? monthOf(new Date(created));
}

const startOfDay = (moment) => new Date(moment.getFullYear(), moment.getMonth(), moment.getDate());

const titleOf = (thread) => thread.title || t("new_chat");

customElements.define("chat-threads", ChatThreads);
