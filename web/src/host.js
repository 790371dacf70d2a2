// The site around the page, if the page is in the panel of embed.js: the source of its user's token, and of the button
// that shows unread answers.
//
// The page greets the site, and the site's answer carries a MessagePort. Only the answer of the parent window counts, and
// only if the stage allows its origin. Everything else goes through the port, which no other window has.
import { allows } from "./origins.js";

const GREETED_IN_MS = 10_000; // the site's scripts may be busy
const TOKEN_IN_MS = 30_000; // the site may ask its own server, and that may be slow

/** Resolves to the site around the page; null without one. `origins` are those of the stage, null if it allows no site. */
export async function hostOf(origins) {
  if (parent === window || !origins || !new URLSearchParams(location.search).has("embed")) return null;
  const greeted = new AbortController();
  const port = await new Promise((resolve) => {
    setTimeout(resolve, GREETED_IN_MS, null);
    addEventListener("message", ({ source, origin, data, ports }) => {
      if (source === parent && allows([location.origin, ...origins], origin) && data?.type === "chat-embed") resolve(ports[0]);
    }, { signal: greeted.signal });
    parent.postMessage({ type: "chat-embed" }, "*"); // says nothing that a stranger may not know
  });
  greeted.abort();
  return port ? new Host(port) : null;
}

/** Dispatches "focus" when the user opens the chat, and "identity" when the site has another token. */
export class Host extends EventTarget {
  hasFocus = false; // whether the user has opened the chat, and not closed it since
  #port;
  #waiting = new Map(); // the requests for a token: id -> what takes it
  #reported = {};

  constructor(port) {
    super();
    this.#port = port;
    port.onmessage = ({ data }) => this.#receive(data);
  }

  #receive({ type, id, token, focus }) {
    if (type === "token") this.#waiting.get(id)?.(token);
    if (type === "focus") this.hasFocus = focus;
    if (type === "identity" || (type === "focus" && focus)) this.dispatchEvent(new Event(type));
  }

  /** The token of the site's user; null if there is none. */
  token({ renew = false } = {}) {
    const id = this.#waiting.size;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      setTimeout(resolve, TOKEN_IN_MS, null);
      this.#port.postMessage({ type: "token", id, renew });
    });
  }

  close() { this.#port.postMessage({ type: "close" }); }

  /** The site opens this thread of this assistant again on its next page; null for a new thread. */
  show(assistant, thread) { this.#port.postMessage({ type: "place", assistant, thread }); }

  /** Whether an answer is being written. One that ends while the chat is closed is unread. */
  set isAnswering(value) { this.#report("answering", value); }

  /** Whether the thread waits for a person or has one: answers may come at any time, also after the next page of the site. */
  set isHeld(value) { this.#report("held", value); }

  /** A person has answered. */
  answered() { this.#port.postMessage({ type: "answered" }); }

  #report(type, value) {
    if (value !== this.#reported[type]) this.#port.postMessage({ type, value });
    this.#reported[type] = value;
  }
}
