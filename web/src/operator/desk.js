// The operators' page: inbox, thread and message box in one element.
import { brandOf } from "../brand.js";
import "../composer.js";
import { confirmed } from "../confirm.js";
import { Conversation } from "../conversation.js";
import { h, icon, iconButton, skeleton } from "../dom.js";
import { wordsOf } from "../fold.js";
import "../messages.js";
import { watchHeld } from "../people.js";
import { showPicturesOf } from "../pictures.js";
import { languagePicker, themeButton } from "../preferences.js";
import { followEnd } from "../scroll.js";
import { t } from "../texts.js";
import "./inbox.js";
import { shortOf, timeOf } from "./inbox.js";
import { operatorRequests } from "./requests.js";
import { UsersThread } from "./thread.js";

const AUTHOR = "chat.author"; // the name under which the operator answers
const wide = matchMedia("(min-width: 48rem)");

/** <chat-app> of this page; call start() once. The address contains the open thread as #user=ID&thread=ID. */
class OperatorDesk extends HTMLElement {
  #drafts = new Map(); // thread id -> text, so that nothing is sent into another user's thread
  #sending = Promise.resolve(); // messages arrive in the order in which they were written
  #unsent = null; // { thread, text, id } of the message that failed: the same text again is the same request
  #unlisten = null;
  #hasAccess = false;

  async start({ config, session }) {
    Object.assign(this, { config, session, thread: null });
    this.brand = brandOf(config);
    showPicturesOf(config.pictures);
    this.#build();
    session.addEventListener("change", () => this.#showAccount());
    const unfinished = await session.finish().then(() => null, (error) => error);
    addEventListener("popstate", () => this.#show(placeInAddress()));
    this.#connect();
    this.#show(placeInAddress());
    if (unfinished) this.#notice({ level: "danger", message: unfinished.message });
  }

  #build() {
    const { assistants = [] } = this.config.page;
    const labelOf = (name) => assistants.find((assistant) => assistant.name === name)?.label ?? (name || t("assistant"));
    const names = this.config.features.people;
    this.assistants = h("select.assistants", { "aria-label": t("assistant"), hidden: names.length < 2, onchange: () => this.#connect() },
      names.map((name) => h("option", { value: name }, labelOf(name))));
    this.inbox = h("operator-inbox");
    this.account = h("div.account");
    this.menu = iconButton("menu", t("operator_inbox"), () => this.#toggleMenu(), { "aria-controls": "inbox", "aria-expanded": "false" });
    this.side = h("nav.side", { id: "inbox", "aria-label": t("operator_inbox") }, this.assistants, this.inbox,
      h("div.side-foot", {}, this.account, h("span.space"), languagePicker(this.config.languages), themeButton()));
    this.heading = h("h1", {}, t("operator_inbox"));
    this.messages = h("chat-messages");
    this.empty = h("div.empty", {}, h("h2", {}, t("operator_choose")));
    this.notices = h("div.notices");
    this.view = h("div.view", { tabindex: "0", role: "region", "aria-label": t("conversation") },
      h("div.column", {}, this.empty, skeleton(4), this.messages, this.notices));
    this.who = h("div.people", { role: "status" });
    const changing = (name, key, kind) => h(`button.${kind}`, { type: "button", hidden: true, onclick: () => this.#change(name) }, t(key));
    this.buttons = {
      take: changing("take", "operator_take", "primary"),
      return: changing("return", "operator_return", "plain"),
      close: changing("close", "operator_close", "plain"),
    };
    this.composer = h("chat-composer");
    const author = h("input.field", { value: localStorage.getItem(AUTHOR) ?? "", placeholder: t("operator_name_default"), autocomplete: "off", onchange: () => localStorage.setItem(AUTHOR, author.value.trim()) });
    this.author = h("label.author", {}, t("operator_name"), author);
    this.below = h("div.below", { hidden: true }, h("div.desk", {}, this.who, Object.values(this.buttons)), this.composer, this.author);
    this.announcer = h("div.unseen", { role: "status", "aria-live": "polite" });
    this.replaceChildren(
      h("a.skip", { href: "#message", onclick: (event) => { event.preventDefault(); this.composer.focus(); } }, t("skip_to_message")),
      this.side, h("div.shade", { onclick: () => this.#toggleMenu(false) }),
      h("main", {}, h("header", {}, this.menu, this.heading), this.view, this.below), this.announcer);
    this.end = followEnd(this.view, this.view.firstElementChild, () => {});
    this.inbox.addEventListener("open", ({ detail }) => this.#open(detail.matter));
    this.inbox.addEventListener("access", ({ detail }) => this.#access(detail.error));
    this.composer.use(null, { attachments: false, dictation: false });
    this.composer.addEventListener("say", ({ detail }) => this.#write(detail.text));
    this.messages.addEventListener("refused", ({ detail }) => this.#notice({ level: "danger", message: detail.error.message }));
    this.addEventListener("keydown", (event) => { if (event.key === "Escape") this.#toggleMenu(false); });
    if (!placeInAddress()) this.composer.clear();
    this.#showAccount();
  }

  #connect() {
    this.requests = operatorRequests({ session: this.session, tokenHeader: this.config.token_header });
    this.#hasAccess = false;
    if (this.session.isSignedIn) return this.inbox.use(this.requests, this.assistants.value);
    this.inbox.clear();
    this.#invite(t("operator_sign_in"));
  }

  /** The inbox could be read, or not: then nothing of a user stays on the screen. */
  #access(error) {
    if (!error) {
      if (!this.#hasAccess) this.notices.querySelector(".access")?.remove();
      this.#hasAccess = true;
      return this.#state();
    }
    this.#hasAccess = false;
    if (error.status !== 404) return this.#notice({ level: "danger", message: error.message, access: true });
    this.inbox.clear();
    this.#drafts.clear();
    this.#leave();
    this.#invite(t("operator_no_access"));
  }

  #invite(message) {
    const { canSignIn } = this.session;
    const run = () => this.session.signIn().catch((error) => this.#notice({ level: "danger", message: error.message }));
    this.#notice({ level: "info", access: true, message, action: canSignIn ? { label: t("sign_in"), run } : { label: t("try_again"), run: () => this.#connect() } });
  }

  #showAccount() {
    this.account.replaceChildren(this.session.canSignOut
      ? h("button.plain", { type: "button", onclick: () => this.#signOut() }, icon("person"), t("sign_out")) : "");
  }

  #signOut() {
    this.session.signOut();
    this.#drafts.clear();
    this.#leave();
    this.notices.replaceChildren();
    this.#connect();
  }

  #toggleMenu(open = this.dataset.menu !== "open") {
    if (wide.matches || (this.dataset.menu === "open") === open) return;
    this.dataset.menu = open ? "open" : "closed";
    this.menu.setAttribute("aria-expanded", String(open));
    (open ? this.side.querySelector("select:not([hidden])") : this.menu).focus();
  }

  #open({ user, thread, id, state }) {
    this.#toggleMenu(false);
    const matter = state === "closed" ? {} : { matter: id }; // nobody may close it before it is taken
    history.pushState(null, "", `#${new URLSearchParams({ user, thread, ...matter })}`);
    this.#show(placeInAddress());
  }

  #leave() {
    this.#show(null);
    history.replaceState(null, "", location.pathname + location.search);
  }

  /** Show a thread; null: none. */
  async #show(place) {
    if (this.thread) this.#drafts.set(this.thread.id, this.composer.text.value);
    this.watched?.stop();
    this.#unlisten?.abort();
    this.#unlisten = new AbortController();
    this.notices.replaceChildren(...this.notices.querySelectorAll(".access"));
    const isFirst = !this.thread && this.composer.text.value; // a draft that survived a reload
    const thread = place && new UsersThread(this.requests, place);
    this.thread = thread;
    this.inbox.current = place;
    this.empty.hidden = Boolean(place);
    this.messages.hidden = this.below.hidden = !place;
    if (!isFirst || !place) this.composer.clear();
    this.#state();
    if (!place) return void (this.messages.conversation = new Conversation(null)); // an empty one
    this.composer.restore(this.#drafts.get(thread.id) ?? "");
    this.composer.ready();
    this.messages.conversation = thread;
    thread.addEventListener("state", () => { if (this.thread === thread) this.#state(); }, { signal: this.#unlisten.signal });
    this.view.setAttribute("aria-busy", "true");
    try {
      await thread.load();
    } catch (error) {
      if (this.thread !== thread) return;
      this.#notice({ level: "danger", message: error.status === 404 ? t("operator_gone") : error.message,
        action: error.status === 404 ? null : { label: t("try_again"), run: () => this.#show(place) } });
      return;
    } finally {
      if (this.thread === thread) this.view.removeAttribute("aria-busy");
    }
    if (this.thread !== thread) return;
    this.end.toEnd();
    this.#focus();
    this.watched = watchHeld({ held: async () => true, refresh: () => this.#refresh(thread), show: () => {} });
  }

  async #refresh(thread) {
    try {
      const changed = await thread.refresh();
      const written = changed.findLast(({ type }) => type === "user_message");
      if (written && this.thread === thread) this.announcer.textContent = t("operator_wrote", { text: wordsOf(written) });
      return changed.length > 0;
    } catch (error) {
      if (error.status === 404) this.inbox.refresh(); // the role is lost, or the thread was deleted
      throw error;
    }
  }

  /** Take, return or close the open thread. */
  async #change(change) {
    const { thread } = this;
    const { matter } = thread.place;
    if (change === "close" && this.#isMine && !(await confirmed(t("operator_close_question"), t("operator_close_consequence"), t("operator_close")))) return;
    await this.#doing(thread, async () => {
      await this.requests.change(thread.place, change, change === "take" && matter && !thread.holder ? { matter } : null);
      await this.#refresh(thread);
      this.inbox.refresh();
    });
    if (this.thread === thread) this.#focus();
  }

  #write(text) {
    const { thread } = this;
    const { thread: before, text: same, id: used } = this.#unsent ?? {};
    const id = before === thread.id && same === text ? used : crypto.randomUUID();
    const author = localStorage.getItem(AUTHOR) || undefined;
    this.#sending = this.#sending.then(() => this.#doing(thread, async () => {
      this.#unsent = { thread: thread.id, text, id };
      thread.receive([await this.requests.change(thread.place, "messages", { text, author }, id)]);
      this.#unsent = null;
      if (this.thread === thread) this.end.toEnd();
    }, () => {
      if (this.thread === thread) this.composer.restore(text);
      else this.#drafts.set(thread.id, text);
    }));
  }

  /** Run a change of a thread; what the server refuses is a notice, and the thread is read again. */
  async #doing(thread, run, undo = () => {}) {
    if (this.thread === thread) this.notices.querySelector(".problem")?.remove();
    try {
      await run();
    } catch (error) {
      undo();
      if (error.status === 404) this.inbox.refresh();
      if (error.status === 409) delete thread.place.matter; // whoever tries again knows why it was refused
      if (this.thread !== thread) return;
      this.#notice({ level: "danger", message: error.status === 404 ? t("operator_gone") : error.message, problem: true });
      this.watched?.now();
    }
  }

  get #isMine() { return this.thread?.holder?.operator != null && this.thread.holder.operator === this.inbox.operator; }

  #state() {
    const { thread } = this;
    this.heading.textContent = thread ? thread.thread.title || shortOf(thread.place.user) : t("operator_inbox");
    document.title = `${this.heading.textContent} · ${this.brand.title}`;
    if (!thread) return;
    const { holder, thread: { status } } = thread;
    const isClosed = (status?.type ?? "active") === "closed";
    const isFree = !holder || holder.state === "waiting";
    const who = isClosed ? t("operator_is_closed") : !holder ? t("operator_assistant_has")
      : holder.state === "waiting" ? t("operator_waits", { time: timeOf(holder.since) })
      : this.#isMine ? t("operator_yours_now") : t("operator_other_has", { operator: shortOf(holder.operator) });
    if (this.who.textContent !== who) this.who.textContent = who;
    this.buttons.take.hidden = isClosed || !isFree;
    this.buttons.return.hidden = !this.#isMine;
    this.buttons.close.hidden = !this.#isMine && !isFree;
    this.composer.closed = this.#isMine && !isClosed ? null : isClosed ? t("operator_is_closed") : t("operator_take_first");
    this.author.hidden = !this.#isMine;
  }

  /** Continue where the next step is: in the message box, or at its button. */
  #focus() {
    if (this.#isMine) this.composer.focus();
    else if (!this.buttons.take.hidden) this.buttons.take.focus({ preventScroll: true });
  }

  #notice({ level, message, action, problem, access }) {
    if (access) this.notices.querySelector(".access")?.remove();
    const box = h(`div.notice.${level}`, { role: level === "danger" ? "alert" : "status" }, icon(level === "info" ? "info" : "warning"), h("div", {}, h("p", {}, message)));
    if (problem) box.classList.add("problem");
    if (access) box.classList.add("access");
    box.append(action ? h("button.plain", { type: "button", onclick: () => { box.remove(); action.run(); } }, action.label)
      : iconButton("close", t("dismiss"), () => box.remove()));
    this.notices.append(box);
  }
}

/** The thread that the address names, as { user, thread, matter }; null: none. */
function placeInAddress() {
  const place = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  return place.user && place.thread ? place : null;
}

customElements.define("chat-app", OperatorDesk);
