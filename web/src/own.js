// The built-in chat client, without third-party scripts: thread list, conversation and composer in one element.
import { createApi } from "./api.js";
import { addressOf, assistantPicker, assistantsOf, brandFor, chosenAssistant, featuresFor, urlOf } from "./assistants.js";
import { brandOf, footnoteOf, logoOf } from "./brand.js";
import { pause } from "./client/tries.js";
import "./composer.js";
import { Conversation } from "./conversation.js";
import { confirmed } from "./confirm.js";
import { h, icon, iconButton, skeleton } from "./dom.js";
import { wordsOf } from "./fold.js";
import { markdown } from "./tasks.js";
import "./messages.js";
import { newsOf, peopleLine, watchHeld } from "./people.js";
import { showPicturesOf } from "./pictures.js";
import { languagePicker, themeButton } from "./preferences.js";
import { followEnd } from "./scroll.js";
import { duration, t } from "./texts.js";
import { setTheme } from "./theme.js";
import "./threads.js";

const wide = matchMedia("(min-width: 48rem)");
const touch = matchMedia("(pointer: coarse)");
const SIDE = "chat.side"; // "folded": the user has hidden the list of chats on a wide screen
const JOB = "chat.job"; // of all-chats.js

/** <chat-app>: the page; call start() once. The address contains the open thread as #thread=ID. */
class ChatApp extends HTMLElement {
  #open = new Map(); // thread id -> Conversation with a running turn, which continues while another thread is open

  /** `host` is the site around the page, if the page is in its panel. */
  async start({ config, session, host = null }) {
    this.config = config;
    this.session = session;
    this.host = host;
    this.brand = brandOf(config);
    showPicturesOf(config.pictures);
    this.#build();
    session.addEventListener("change", () => this.#showAccount());
    const unfinished = await session.finish().then(() => null, (error) => error);
    this.assistant = chosenAssistant(config); // finish() may have restored the address
    this.#connect();
    const left = unfinished ? null : await this.#takeAlong();
    addEventListener("popstate", () => this.#back());
    if (session.isSignedIn) this.threads.refresh();
    await this.#show(session.hasGuestsChats ? null : idInAddress()); // the thread may still belong to the guest
    for (const trouble of [unfinished && { message: unfinished.message }, left]) if (trouble) this.#notice({ level: "danger", ...trouble });
    if (sessionStorage.getItem(JOB)) this.#allChats((all) => all.resume());
    host?.addEventListener("focus", () => this.#focus());
  }

  /** Put the focus into the message box, unless that would open a keyboard that covers the chat. */
  #focus() {
    if (wide.matches || (this.host?.hasFocus && !touch.matches)) this.composer.focus();
  }

  /** Move the guest's chats to the signed-in user. Resolves to null, or to a notice that says why it failed. */
  #takeAlong() {
    const run = async () => {
      const left = await this.#takeAlong();
      if (left) return this.#notice({ level: "danger", ...left });
      this.threads.refresh();
      await this.#show(idInAddress());
    };
    const chats = [...this.apis.values()].map(({ chat }) => chat);
    return this.session.takeAlong(chats).then(() => null, ({ message }) => (
      { message, action: this.session.hasGuestsChats && { label: t("try_again"), run } }));
  }

  #build() {
    this.threads = h("chat-threads");
    this.messages = h("chat-messages");
    this.composer = h("chat-composer");
    this.people = peopleLine(() => this.#askForPerson());
    this.notices = h("div.notices");
    this.heading = h("h1");
    this.announcer = h("div.unseen", { role: "status", "aria-live": "polite" });
    this.jump = h("button.jump", { type: "button", hidden: true, onclick: () => { this.end.toEnd(); this.composer.focus(); } }, icon("down"), t("latest"));
    this.empty = h("div.empty", { hidden: true });
    this.skeleton = skeleton(4);
    this.view = h("div.view", { tabindex: "0", role: "region", "aria-label": t("conversation") }, h("div.column", {}, this.empty, this.skeleton, this.messages, this.notices));
    this.account = h("div.account");
    this.menu = iconButton("menu", t("chats"), () => (wide.matches ? this.#fold() : this.#toggleMenu()), { "aria-controls": "threads", "aria-keyshortcuts": "Control+B" });
    this.job = h("div.job", { hidden: true, role: "group", "aria-label": t("all_chats") });
    this.data = iconButton("download", t("all_chats"), () => this.#allChats((all) => all.ask()));
    this.picker = assistantPicker(this.config, (assistant) => this.#choose(assistant));
    this.colors = themeButton();
    this.side = h("nav.side", { id: "threads", "aria-label": t("chats") }, this.picker ?? "", this.threads, this.job,
      h("div.side-foot", {}, this.account, h("span.space"), this.data, languagePicker(this.config.languages), this.colors));
    this.dataset.side = localStorage.getItem(SIDE) ?? "open";
    this.#showMenu();
    wide.addEventListener("change", () => this.#showMenu());
    const fresh = iconButton("plus", t("new_chat"), () => this.#go(null), { id: "fresh" });
    this.replaceChildren(
      h("a.skip", { href: "#message", onclick: (event) => { event.preventDefault(); this.composer.focus(); } }, t("skip_to_message")),
      this.side, h("div.shade", { onclick: () => this.#toggleMenu(false) }),
      h("main", {}, h("header", {}, this.menu, this.heading, fresh,
        this.host && iconButton("close", t("close_chat"), () => this.host.close(), { id: "close" })),
        this.view, h("div.below", {}, this.jump, this.people, this.composer, footnoteOf(this.brand))),
      this.announcer);
    this.end = followEnd(this.view, this.view.firstElementChild, (left) => { this.jump.hidden = !left; });
    this.threads.addEventListener("open", ({ detail }) => this.#go(detail.thread?.id ?? null));
    this.threads.addEventListener("gone", ({ detail }) => this.#gone([detail.id]));
    this.threads.addEventListener("renamed", ({ detail }) => { if (this.now.id === detail.thread.id) { this.now.thread = detail.thread; this.#state(); } });
    this.composer.addEventListener("say", ({ detail }) => this.#say(detail));
    this.composer.addEventListener("stop", () => { this.now.stop(); this.announcer.textContent = t("stopped"); });
    this.messages.addEventListener("sent", () => { this.#focus(); this.end.toEnd(); });
    this.messages.addEventListener("refused", ({ detail }) => this.#notice({ level: "danger", message: detail.error.message }));
    this.addEventListener("keydown", (event) => { if (event.key === "Escape") this.#escape(); });
    addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "b" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
      event.preventDefault();
      this.menu.click();
    });
    this.#showAccount();
  }

  /** Create new API clients, so that nothing remains of the previous user. */
  #connect() {
    for (const api of this.apis?.values() ?? []) api.close();
    this.#all?.then((all) => all.cancel());
    this.#all = null;
    const { session, config } = this;
    this.apis = new Map(assistantsOf(config).map((assistant) => [assistant, createApi({ url: urlOf(assistant), session, tokenHeader: config.token_header })]));
    this.#open.clear();
    this.#use(this.assistant);
  }

  /** Show the threads, the greeting and the models of an assistant. */
  #use(assistant) {
    this.assistant = assistant;
    this.api = this.apis.get(assistant);
    this.threads.api = this.api;
    this.features = featuresFor(this.config.features, assistant);
    this.composer.use(this.api, this.features);
    if (this.picker) this.picker.selectedIndex = [...this.apis.keys()].indexOf(assistant);
    const brand = brandFor(this.brand, assistant);
    const prompts = brand.prompts.map(({ label, prompt }) => h("button.prompt", { type: "button", onclick: () => this.composer.send(prompt) }, label));
    this.empty.replaceChildren(h("div", {}, logoOf(brand), h("h2", {}, brand.greeting),
      prompts.length ? h("div.prompts", { role: "group", "aria-label": t("suggestions") }, prompts) : null));
  }

  #choose(assistant) {
    this.#visit(addressOf(assistant, this.config));
    this.#back();
  }

  /** Show what the address names: after Back, Forward, or another choice. */
  #back() {
    const assistant = chosenAssistant(this.config);
    if (assistant !== this.assistant) {
      this.#use(assistant);
      if (this.session.isSignedIn) this.threads.refresh();
    }
    this.#show(idInAddress());
  }

  /** "All my chats", whose code is loaded when it is needed. */
  #allChats(then) {
    this.#all ??= import("./all-chats.js").then(({ allChats }) => allChats({ h, confirmed, pause, t }, {
      assistants: [...this.apis].map(([assistant, api]) => ({ assistant, api })), place: this.job, person: () => this.session.person,
      onGone: (ids) => this.#gone(ids), refresh: () => this.threads.refresh(), say: (notice) => this.#notice(notice),
    }));
    this.#all.then(then).catch((error) => {
      this.#all = null;
      this.#notice({ level: "danger", message: error instanceof TypeError ? t("connection_lost") : error.message });
    });
  }
  #all = null;

  #showAccount() {
    const { session } = this;
    this.data.hidden = !session.isSignedIn;
    this.account.replaceChildren(session.canSignOut ? h("button.plain", { type: "button", onclick: () => this.#signOut() }, icon("person"), t("sign_out"))
      : session.canSignIn ? h("button.plain", { type: "button", onclick: () => this.#signIn() }, icon("person"), t("sign_in")) : "");
  }

  #signOut() {
    this.session.signOut();
    this.composer.clear();
    this.#connect();
    if (this.session.isSignedIn) this.threads.refresh(); // as a guest
    history.replaceState(null, "", location.pathname + location.search);
    this.#show(null);
  }

  async #signIn() {
    this.composer.restore(this.now.unsent);
    if (this.session.canSignIn) return this.session.signIn().catch((error) => this.#notice({ level: "danger", message: error.message }));
    this.session.expire(); // a guest gets another token with the next request
    this.#connect();
    this.threads.refresh();
    await this.#show(null);
  }

  /** Escape closes the list on a phone, else the panel; the message box stops a running turn by itself. */
  #escape() {
    if (this.dataset.menu === "open") this.#toggleMenu(false);
    else if (!this.now.running) this.host?.close();
  }

  #toggleMenu(open = this.dataset.menu !== "open") {
    if ((this.dataset.menu === "open") === open) return;
    this.dataset.menu = open ? "open" : "closed";
    this.#showMenu();
    (open ? this.side.querySelector("button") : this.menu).focus();
  }

  /** Hide the list of chats on a wide screen, or show it again. */
  #fold() {
    const hadFocus = this.side.contains(document.activeElement);
    this.dataset.side = this.dataset.side === "folded" ? "open" : "folded";
    localStorage.setItem(SIDE, this.dataset.side);
    this.#showMenu();
    if (hadFocus) this.menu.focus();
  }

  #showMenu() {
    this.menu.setAttribute("aria-expanded", String(wide.matches ? this.dataset.side !== "folded" : this.dataset.menu === "open"));
  }

  #go(id) {
    this.#toggleMenu(false);
    if (id === idInAddress() && id === this.now?.id) return this.composer.focus();
    const address = id === null ? location.pathname + location.search : `#thread=${id}`;
    this.#visit(address);
    this.#show(id);
  }

  /** Change the address; in a frame, without an entry in the history of the site around it. */
  #visit(address) { history[this.host ? "replaceState" : "pushState"](null, "", address); }

  /** Show a thread (null: a new one). A running turn of the previous thread continues in the background. */
  async #show(id) {
    const { api, session } = this;
    if (!session.isSignedIn) id = null;
    const now = (id && this.#open.get(id)) ?? new Conversation(api, id && (this.threads.find(id) ?? { id }));
    const known = this.#open.get(id) === now;
    this.now = now;
    this.notices.replaceChildren();
    this.#unlisten?.abort();
    this.#unlisten = new AbortController();
    const { signal } = this.#unlisten;
    now.addEventListener("state", () => this.#state(), { signal });
    now.addEventListener("notice", ({ detail }) => this.#notice({ ...detail, message: markdown(detail.message) }), { signal });
    now.addEventListener("effect", ({ detail }) => this.#effect(detail), { signal });
    if (!known) now.addEventListener("saved", () => { if ([...this.apis.values()].includes(api)) this.#saved(now, api); }); // not in the next user's list
    this.messages.conversation = now;
    this.threads.current = id;
    this.host?.show(this.assistant.name, id);
    if (id && !known) this.view.setAttribute("aria-busy", "true");
    else this.view.removeAttribute("aria-busy");
    this.#watch(now);
    this.#state();
    this.#inviteIn();
    this.composer.ready(); // signing in may have taken a while
    this.end.toEnd();
    this.#focus();
    if (!id || known) return;
    try {
      await Promise.all([now.load(), this.threads.loaded]);
      const thread = this.threads.find(id) ?? (await this.api.call("threads.get_by_id", { thread_id: id }));
      now.thread = { ...thread, items: undefined };
    } catch (error) {
      if (this.now === now && this.host && error.status === 404) return this.#go(null); // the site remembered a deleted thread
      if (this.now === now) now.fail(error, () => this.#show(id));
    }
    if (this.now !== now) return;
    this.view.removeAttribute("aria-busy");
    now.dispatchEvent(new CustomEvent("state")); // its thread may be closed
    this.end.toEnd();
  }
  #unlisten = null;

  /** Show what people write in a thread that one of them has. */
  #watch(now) {
    this.watched?.stop();
    if (!this.features.people) return;
    const news = newsOf(this.api, now);
    const refresh = async () => {
      const came = await news();
      if (came) this.host?.answered();
      return came;
    };
    this.watched = watchHeld({ held: () => (now.id && !now.running ? this.api.held(now.id) : now.held), refresh, show: (held) => now.hold(held) });
  }

  async #askForPerson() {
    const { now } = this;
    try {
      await now.hold(await this.api.askForPerson(now.id));
      this.watched.now();
    } catch (error) {
      this.#notice({ level: "warning", message: error.message });
    }
  }

  #say({ text, attachments, options }) {
    const { now } = this;
    this.notices.replaceChildren();
    now.send(text, attachments, options); // its bubble is drawn when this returns
    this.end.toEnd();
  }

  /** The server created or renamed a thread, or its turn ended. */
  #saved(conversation, api) {
    const { thread, running } = conversation;
    if (!thread) return;
    if (!running && conversation === this.now) this.watched?.now(); // the agent may have asked for a person
    if (running) this.#open.set(thread.id, conversation);
    else this.#open.delete(thread.id);
    if (api !== this.api) return; // it is in the list of another assistant
    this.threads.keep(thread);
    if (conversation !== this.now) return;
    if (idInAddress() !== thread.id) history.replaceState(null, "", `#thread=${thread.id}`);
    this.host?.show(this.assistant.name, thread.id);
    this.threads.current = thread.id;
  }

  #gone(ids) {
    for (const id of ids) this.#open.get(id)?.stop();
    for (const id of ids) this.#open.delete(id);
    this.threads.drop(ids);
    if (ids.includes(this.now.id)) this.#go(null);
  }

  #state() {
    const { now } = this;
    if (this.host && !this.view.hasAttribute("aria-busy")) Object.assign(this.host, { isAnswering: Boolean(now.running), isHeld: Boolean(now.held) });
    const { type = "active", reason } = now.thread?.status ?? {};
    this.heading.textContent = now.thread?.title || (this.view.hasAttribute("aria-busy") ? "" : t("new_chat"));
    document.title = now.thread?.title ? `${now.thread.title} · ${this.brand.title}` : this.brand.title;
    this.composer.running = Boolean(now.running);
    this.composer.closed = !this.session.isSignedIn ? t("not_signed_in")
      : type === "active" ? null : reason || t("chat_closed");
    this.empty.hidden = Boolean(now.id || now.items.size);
    this.people.draw(now.held, this.features.people && now.id && type === "active" && !now.running);
    this.#announce(now);
    this.#problem(now);
  }

  #inviteIn() {
    const { session } = this;
    if (session.isSignedIn) return;
    if (session.canSignIn) this.#notice({ level: "info", message: t("sign_in_to_chat"), action: { label: t("sign_in"), run: () => this.#signIn() } });
    else if (this.host) this.#notice({ level: "info", message: t("sign_in_on_site") });
    else this.#notice({ level: "warning", message: t("sign_in_at_host") });
  }

  /** Announce an answer to screen readers once, when it is complete. */
  #announce(now) {
    if (Boolean(now.running) === this.wasRunning) return;
    this.wasRunning = Boolean(now.running);
    const last = [...now.items.values()].at(-1);
    if (now.running) this.announcer.textContent = t("answering");
    else if (last?.type === "assistant_message") this.announcer.textContent = t("answered", { text: wordsOf(last) });
  }

  #problem({ problem }) {
    if (problem === this.shownProblem) return;
    this.shownProblem = problem;
    this.notices.querySelector(".problem")?.remove();
    if (!problem) return;
    const { error, again } = problem;
    if (error.status === 401) {
      const label = this.session.canSignIn ? t("sign_in_again") : this.session.isHosted ? null : t("continue_as_guest");
      return this.#notice({ level: "danger", message: label ? t("no_longer_signed_in") : error.message, problem: true, action: label && { label, run: () => this.#signIn() } });
    }
    const action = again && { label: t("try_again"), run: again, after: error.retryAfterS };
    this.#notice({ level: "danger", message: error.message, problem: true, action });
  }

  /** Show a notice below the messages. `message` is text or elements; `action` gets a button, enabled after `after` seconds. */
  #notice({ level, title, message, action, problem }) {
    const box = h(`div.notice.${level}`, { role: level === "danger" ? "alert" : "status" }, icon(level === "info" ? "info" : "warning"),
      h("div", {}, title && h("strong", {}, title), typeof message === "string" ? h("p", {}, message) : message));
    if (problem) box.classList.add("problem");
    if (action) {
      const button = h("button.plain", { type: "button", onclick: () => { box.remove(); this.#focus(); action.run(); } }, action.label);
      if (action.after) countdown(button, action.after);
      box.append(button);
    }
    if (!problem || !action) box.append(iconButton("close", t("dismiss"), () => { box.remove(); this.#focus(); }));
    this.notices.append(box);
  }

  #effect({ name, data }) {
    if (name === "set_theme") {
      setTheme(data.theme);
      this.colors.draw();
    }
    this.dispatchEvent(new CustomEvent("chat-effect", { bubbles: true, detail: { name, data } })); // for scripts that extend this page
  }
}

/** Disable the button for as long as the server asked clients to wait. */
function countdown(button, seconds) {
  const ends = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((ends - Date.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? t("try_again_in", { time: duration(left) }) : t("try_again");
    if (left > 0 && (button.isConnected || left >= seconds)) setTimeout(tick, 500);
  };
  tick();
}

const idInAddress = () => new URLSearchParams(location.hash.slice(1)).get("thread");

customElements.define("chat-app", ChatApp);
