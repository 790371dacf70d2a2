// OpenAI's ChatKit in this page, where the stage has a domain key. It comes from OpenAI's CDN and from nowhere else, and
// stays away where the network, a blocker or OpenAI's list of domains says no: then our own client serves.
import { chatClient } from "./chat-client.js";
import { h } from "./dom.js";
import { TOOLS } from "./forms.js";
import { setTheme, theme } from "./theme.js";

const SCRIPT = "https://cdn.platform.openai.com/deployments/chatkit/chatkit.js";
const LOADED_IN_MS = 3_000; // the script; who waits longer is better served by our own client
const STARTED_IN_MS = 10_000; // its frame, after that
const ACCEPT = { // what the server takes: docs/attachments.md
  "image/png": [".png"], "image/jpeg": [".jpg", ".jpeg"], "image/gif": [".gif"], "image/webp": [".webp"],
  "application/pdf": [".pdf"], "application/json": [".json"],
  "text/plain": [".txt"], "text/markdown": [".md"], "text/csv": [".csv"],
};

/**
 * Serve the page with ChatKit, before `app`, which is hidden meanwhile. Resolves with a sentence when ChatKit cannot,
 * at once or later: nothing of it is left then. While it serves, the promise is pending.
 */
export async function serveChatKit({ config, session, app }) {
  if (!(await loaded())) return `ChatKit did not come from ${new URL(SCRIPT).host} within ${LOADED_IN_MS / 1000} s.`;
  const bar = h("div.chatkit-bar", { role: "status" });
  const say = (text) => bar.prepend(h("p", {}, text));
  await session.finish().catch((error) => say(error.message));
  if (session.isHosted && !(await session.getToken())) say("Open this chat from the site that it belongs to: it signs you in.");
  bar.append(account(session, say));
  const chat = chatClient({ url: "chatkit", getToken: session.getToken, tokenHeader: config.token_header });
  await session.takeAlong(chat.fetch).catch((error) => say(error.message));
  const element = /** @type {import("@openai/chatkit").OpenAIChatKit} */ (document.createElement("openai-chatkit"));
  const paint = () => element.setOptions(optionsOf(config, chat, () => { setTheme(theme() === "dark" ? "light" : "dark"); paint(); }));
  const system = matchMedia("(prefers-color-scheme: dark)");
  element.addEventListener("chatkit.thread.change", ({ detail }) => {
    history.replaceState(null, "", detail.threadId ? `#thread=${detail.threadId}` : location.pathname + location.search);
  });
  element.addEventListener("chatkit.thread.load.end", async ({ detail }) => {
    if (await chat.follow(detail.threadId)) await element.fetchUpdates(); // the page was reloaded in mid-answer
  });
  element.addEventListener("chatkit.error", ({ detail }) => console.warn("ChatKit:", detail.error));
  try {
    paint();
  } catch (error) {
    return `ChatKit did not take its options: ${error}`; // it changes when OpenAI likes
  }
  system.addEventListener("change", paint);
  app.hidden = true;
  app.before(bar, element);
  const why = await failureOf(element);
  system.removeEventListener("change", paint);
  bar.remove();
  element.remove();
  app.hidden = false;
  return why;
}

/** Whether the component is there in time. */
function loaded() {
  const script = h("script", { src: SCRIPT, async: true });
  const answer = Promise.race([
    customElements.whenDefined("openai-chatkit").then(() => true),
    new Promise((answered) => { script.addEventListener("error", () => answered(false)); }),
    new Promise((answered) => { setTimeout(answered, LOADED_IN_MS, false); }),
  ]);
  document.head.append(script);
  return answer;
}

/** Why ChatKit cannot serve. When OpenAI does not know the page's domain, it takes its frame away and says nothing. */
function failureOf(element) {
  return new Promise((failed) => {
    const late = setTimeout(failed, STARTED_IN_MS, "ChatKit's frame did not come.");
    element.addEventListener("chatkit.ready", () => clearTimeout(late), { once: true });
    if (!element.shadowRoot) return;
    const framed = () => element.shadowRoot.querySelector("iframe") !== null;
    let was = framed();
    new MutationObserver(() => {
      if (was && !framed()) failed(`ChatKit gave up. Is ${location.host} on OpenAI's list of domains? See docs/frontend.md.`);
      was = framed();
    }).observe(element.shadowRoot, { childList: true, subtree: true });
  });
}

/** @returns {import("@openai/chatkit").ChatKitOptions} */
function optionsOf({ domain_key: domainKey, features }, chat, changeTheme) {
  return {
    api: { url: chat.url, domainKey, fetch: chat.fetch, uploadStrategy: { type: "two_phase" } },
    theme: /** @type {"dark" | "light"} */ (theme()),
    frameTitle: "Chat",
    initialThread: new URLSearchParams(location.hash.slice(1)).get("thread"),
    header: { rightAction: { icon: theme() === "dark" ? "light-mode" : "dark-mode", onClick: changeTheme } },
    history: { enabled: true, showDelete: true, showRename: true },
    startScreen: { greeting: "What can I help with?" },
    threadItemActions: { feedback: true, retry: true },
    thread: { autoScroll: true },
    composer: {
      attachments: {
        enabled: features.attachments, accept: ACCEPT, maxCount: 10,
        maxSize: { "image/*": features.max_image_bytes, "*": features.max_file_bytes },
      },
      dictation: { enabled: features.dictation },
    },
    onClientTool,
  };
}

/** Nothing leaves the page before the user says so. */
async function onClientTool({ name }) {
  const tool = Object.hasOwn(TOOLS, name) ? TOOLS[name] : null;
  if (!tool) return { error: "This page has no such tool." };
  if (!confirm(`${tool.asks} Allow it?`)) return { error: "The user refused." };
  return tool.run().catch(() => ({ error: "The browser did not allow it." }));
}

/** Signing in and out, which ChatKit leaves to the page. */
function account(session, say) {
  const button = (text, onclick) => h("button.plain", { type: "button", onclick }, text);
  if (session.canSignOut) return button("Sign out", async () => { if (!(await session.signOut())) location.replace(location.pathname); });
  if (session.canSignIn) return button("Sign in", () => session.signIn().catch((error) => say(error.message)));
  return "";
}
