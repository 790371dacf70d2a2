// The chat as a bubble on another site: <script src="https://STAGE/embed.js" defer></script>. Draws a button, opens the
// stage's page in a frame, and hands it the token of the site's user (docs/how-to/embed.md).
//
// The frame greets us by postMessage; the answer carries a MessagePort to the stage's origin, and to no other. Everything
// else goes through that port (web/src/host.js). Styles are a constructed sheet in a shadow root: the site's styles do
// not reach them, and a content security policy does not forbid them.
//
// `stage` is what the server adds at the end of this file: { title, accent, origins } and two texts (lambda_src/http/page.py).
/* global stage */
import { allows } from "./origins.js";

const GREETED_IN_MS = 20_000; // for the frame, on a slow phone; after that the panel links to the page
const NAMED_IN_MS = 10_000; // for a site that has named a user before, so that the frame does not take them for gone
const LABEL_CHARS = 40;
const FULL_SCREEN = "(max-width: 480px), (max-height: 480px)"; // a phone, upright or not
const ACCENT = "#0f6b5c"; // as in page.css
const SIGNS = { chat: "M4 3h16a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2h-8l-6 5v-5H4a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2z", down: "M6 9l6 6l6-6" };
const CSS = `
:host { all: initial !important; display: contents !important; }
* { box-sizing: border-box; }
.bubble, .panel { position: fixed; z-index: 2147483000; inset-inline-end: max(20px, env(safe-area-inset-right)); }
.left > .bubble, .left > .panel { inset-inline: auto; left: max(20px, env(safe-area-inset-left)); }
.right > .bubble, .right > .panel { inset-inline: auto; right: max(20px, env(safe-area-inset-right)); }
.bubble { z-index: 2147483001; bottom: max(20px, env(safe-area-inset-bottom)); display: flex; align-items: center; justify-content: center; gap: 8px; min-width: 56px; height: 56px; padding: 0 15px; border: 1px solid transparent; border-radius: 28px; background: var(--accent); color: #fff; font: 600 15px/1 system-ui, sans-serif; box-shadow: 0 4px 20px #0005; cursor: pointer; }
.bubble:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; box-shadow: 0 0 0 3px #fff; }
svg { flex: none; width: 24px; height: 24px; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
.down, .open .chat { display: none; } .open .down { display: block; }
.badge { position: absolute; top: -6px; inset-inline-end: -6px; min-width: 22px; padding: 0 6px; border: 1px solid #fff; border-radius: 11px; background: #b3261e; font-size: 13px; line-height: 20px; text-align: center; }
.badge:empty { display: none; }
.unseen { position: fixed; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.panel { bottom: 92px; width: min(400px, 100vw - 40px); height: min(680px, 100vh - 112px); height: min(680px, 100dvh - 112px); border: 1px solid #8884; border-radius: 16px; overflow: hidden; background: Canvas; color: CanvasText; color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; box-shadow: 0 12px 48px #0005; visibility: hidden; opacity: 0; translate: 0 12px; transition: opacity .15s, translate .15s, visibility 0s .15s; }
.open > .panel { visibility: visible; opacity: 1; translate: 0; transition-delay: 0s; }
iframe { display: block; width: 100%; height: 100%; border: 0; color-scheme: normal; }
.panel[aria-busy]::after { content: ""; position: absolute; inset: 0; width: 24px; height: 24px; margin: auto; border: 2px solid #8885; border-top-color: var(--accent); border-radius: 50%; animation: turn .8s linear infinite; }
@keyframes turn { to { rotate: 1turn; } }
.problem { position: absolute; inset: 0; display: flex; flex-direction: column; align-items: center; justify-content: center; gap: 12px; padding: 24px; background: Canvas; text-align: center; }
.problem a { color: LinkText; }
@media ${FULL_SCREEN} { .root > .panel { inset: 0; width: 100%; height: 100%; border: 0; border-radius: 0; } .open.loaded > .bubble { display: none; } }
@media (prefers-reduced-motion: reduce) { .panel { transition: none; } .panel[aria-busy]::after { animation: none; } }
@media print { .root { display: none; } }
`;

/** The site's side of the chat, as window.ChatEmbed. Dispatches "open", "close" and "unread". */
class ChatEmbed extends EventTarget {
  #stage; // the URL of the stage, with a slash at its end
  #key; // of the state in sessionStorage
  #state = { open: false, closed: false, assistant: null, thread: null, answering: false, held: false, named: false, unread: 0 };
  #label;
  #assistant; // that new threads are for, if the site chooses one
  #host = element("chat-embed");
  #root;
  #button;
  #badge = element("span", { class: "badge", "aria-hidden": "true" });
  #status = element("div", { class: "unseen", role: "status" });
  #panel;
  #frame = null;
  #port = null;
  #identity = null; // a token, or a function that returns one
  #declare; // called when the site first names its user, or nobody
  #declared = new Promise((declare) => { this.#declare = declare; });
  #before = null; // the element that had the focus when the chat was opened
  #takesFocus = false;
  #late = 0;
  #end = new AbortController();
  #keeper = new MutationObserver(() => this.#attach());

  constructor(url, { position, open, label, assistant }) {
    super();
    this.#stage = url;
    this.#key = `chat-embed ${url}`;
    this.#label = label || stage.title;
    this.#assistant = assistant;
    this.#draw(position, label);
    const kept = this.#recall();
    Object.assign(this.#state, kept, { open: false });
    addEventListener("message", (event) => this.#greet(event), { signal: this.#end.signal });
    this.#attach();
    if ((kept?.open || (open && !kept?.closed)) && !matchMedia(FULL_SCREEN).matches) this.#open();
    else if (this.#state.answering || this.#state.held) this.#load(); // for the answer that was awaited on the last page
    this.#update({});
  }

  get isOpen() { return this.#state.open; }
  /** Answers that ended while the chat was closed. */
  get unread() { return this.#state.unread; }

  open() {
    if (this.isOpen || this.#end.signal.aborted) return;
    this.#before = document.activeElement;
    this.#takesFocus = true;
    this.#open();
    this.#frame.focus();
    this.#port?.postMessage({ type: "focus", focus: true });
  }

  close() {
    if (!this.isOpen) return;
    const hadFocus = this.#host.shadowRoot.activeElement !== null;
    this.#takesFocus = false;
    this.#port?.postMessage({ type: "focus", focus: false });
    this.#update({ open: false, closed: true });
    const before = this.#before;
    if (hadFocus) (before?.isConnected && before !== document.body && before !== this.#host ? before : this.#button).focus();
    this.dispatchEvent(new Event("close"));
  }

  toggle() { if (this.isOpen) this.close(); else this.open(); }

  /**
   * Name the site's user: a token; a function that returns one, or a promise of one, and gets { renew: true } when the
   * last token was refused or is about to end; or null for nobody.
   */
  identify(identity) {
    if (identity !== null && !["string", "function"].includes(typeof identity)) {
      throw new TypeError("ChatEmbed.identify takes a token, a function that returns one, or null.");
    }
    this.#identity = identity;
    this.#declare();
    this.#update({ named: identity !== null });
    this.#port?.postMessage({ type: "identity" });
  }

  /** Remove the chat from the page. */
  destroy() {
    this.#end.abort();
    this.#keeper.disconnect();
    clearTimeout(this.#late);
    this.#port?.close();
    this.#host.remove();
    if (globalThis.ChatEmbed === this) delete globalThis.ChatEmbed;
  }

  #draw(position, label) {
    this.#button = element("button", { class: "bubble", type: "button", "aria-expanded": "false", "aria-controls": "panel" },
      sign("chat"), sign("down"), label || "", this.#badge);
    this.#button.addEventListener("click", () => this.toggle());
    this.#panel = element("div", { class: "panel", id: "panel", role: "dialog", "aria-label": stage.title });
    this.#root = element("div", { class: `root ${position ?? ""}` }, this.#button, this.#panel, this.#status);
    this.#root.style.setProperty("--accent", stage.accent ?? ACCENT);
    this.#root.addEventListener("keydown", (event) => { if (event.key === "Escape") this.close(); });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
    const shadow = this.#host.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [sheet];
    shadow.append(this.#root);
  }

  /** Be in the page, even if its framework has just replaced the body or everything in it. */
  #attach() {
    if (this.#host.isConnected || !document.body) return;
    if (this.#frame) this.#frame.src = this.#address; // it loads again, with the thread that is open now
    document.body.append(this.#host);
    this.#keeper.observe(document.documentElement, { childList: true });
    this.#keeper.observe(document.body, { childList: true });
  }

  get #address() {
    const { thread, assistant } = this.#state;
    const { lang } = document.documentElement; // of the site: the chat is in it, too
    const query = { embed: "", lang, assistant: thread ? assistant : this.#assistant ?? assistant };
    const given = Object.entries(query).filter(([name, value]) => name === "embed" || value);
    return `${this.#stage}?${new URLSearchParams(given)}${thread ? `#thread=${encodeURIComponent(thread)}` : ""}`;
  }

  #open() {
    this.#load();
    this.#update({ open: true, closed: false, unread: 0 });
    this.dispatchEvent(new Event("open"));
  }

  #load() {
    if (this.#frame) return;
    this.#frame = element("iframe", { title: stage.title, allow: "clipboard-read; clipboard-write; microphone" });
    this.#frame.src = this.#address;
    this.#panel.setAttribute("aria-busy", "true");
    this.#panel.append(this.#frame);
    this.#late = setTimeout(() => this.#fail(), GREETED_IN_MS);
  }

  /** Answer the frame's greeting, after each time that it has loaded. */
  #greet({ source, origin, data }) {
    const { origin: allowed } = new URL(this.#stage);
    if (!this.#frame || source !== this.#frame.contentWindow || origin !== allowed || data?.type !== "chat-embed") return;
    const { port1, port2 } = new MessageChannel();
    this.#port?.close();
    this.#port = port1;
    port1.onmessage = (event) => this.#receive(event.data);
    source.postMessage({ type: "chat-embed" }, allowed, [port2]);
    if (this.#takesFocus) port1.postMessage({ type: "focus", focus: true });
    clearTimeout(this.#late);
    this.#root.classList.add("loaded"); // from now on the chat has its own button to close it, on a phone
    this.#panel.removeAttribute("aria-busy");
    this.#panel.querySelector(".problem")?.remove();
  }

  #receive({ type, renew, id, value, assistant, thread }) {
    switch (type) {
      case "token": this.#sendToken(id, renew, this.#port); break;
      case "close": this.close(); break;
      case "place": this.#update({ assistant, thread }); break;
      case "held": this.#update({ held: value }); break;
      case "answered": this.#update({ unread: this.unread + !this.isOpen }); break;
      case "answering":
        this.#update({ answering: value, unread: this.unread + (this.#state.answering && !value && !this.isOpen) });
        break;
    }
  }

  async #sendToken(id, renew, port) {
    if (this.#state.named) await Promise.race([this.#declared, new Promise((late) => { setTimeout(late, NAMED_IN_MS); })]);
    const identity = this.#identity;
    const ask = async () => (typeof identity === "function" ? identity({ renew }) : renew ? null : identity);
    const token = await ask().catch((error) => console.warn("ChatEmbed: the function passed to identify() failed.", error));
    port.postMessage({ type: "token", id, token: typeof token === "string" && token ? token : null });
  }

  #fail() {
    this.#panel.removeAttribute("aria-busy");
    const link = element("a", { href: this.#stage, target: "_blank", rel: "noopener" }, stage.open_in_tab);
    this.#panel.append(element("div", { class: "problem", role: "alert" }, stage.chat_not_loaded, link));
  }

  #update(changes) {
    const { unread } = this.#state;
    Object.assign(this.#state, changes);
    const state = this.#state;
    const name = state.unread ? `${this.#label} (${state.unread})` : this.#label;
    this.#root.classList.toggle("open", state.open);
    this.#button.setAttribute("aria-expanded", String(state.open));
    this.#button.setAttribute("aria-label", name);
    this.#badge.textContent = state.unread || "";
    this.#status.textContent = state.unread ? name : "";
    try {
      sessionStorage.setItem(this.#key, JSON.stringify(state));
    } catch {
      // The browser keeps nothing for this site: the next page begins anew.
    }
    if (state.unread !== unread) this.dispatchEvent(new CustomEvent("unread", { detail: { count: state.unread } }));
  }

  #recall() {
    try {
      return JSON.parse(sessionStorage.getItem(this.#key));
    } catch {
      return null; // as above
    }
  }
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

function sign(name) {
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", name);
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", SIGNS[name]);
  svg.append(path);
  return svg;
}

/** The options in the script's data attributes. One that is wrong is reported and ignored. */
function optionsOf({ position, open, label, assistant }) {
  const wrong = (name, value, takes) => console.warn(`ChatEmbed: data-${name} takes ${takes}, and is "${value}".`);
  if (![undefined, "left", "right"].includes(position)) {
    wrong("position", position, "left or right");
    position = undefined;
  }
  if (![undefined, "", "true", "false"].includes(open)) wrong("open", open, "true or false");
  label = label?.trim();
  if (label?.length > LABEL_CHARS) {
    wrong("label", label, `at most ${LABEL_CHARS} characters`);
    label = undefined;
  }
  return { position, open: open === "" || open === "true", label, assistant };
}

const script = document.currentScript;
const url = script && new URL(".", script.src).href;
if (!script) console.warn("ChatEmbed: load embed.js with a script element, and not as a module.");
else if (globalThis.ChatEmbed) console.warn("ChatEmbed: this page loads embed.js twice.");
else if (!allows([new URL(url).origin, ...stage.origins], location.origin)) {
  console.warn(`ChatEmbed: the chat at ${url} does not allow this site. Add ${location.origin} to cors_origins of its stage.`);
} else {
  const start = () => { globalThis.ChatEmbed = new ChatEmbed(url, optionsOf(script.dataset)); };
  if (document.body) start();
  else addEventListener("DOMContentLoaded", start, { once: true });
}
