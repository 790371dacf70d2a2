// OpenAI's ChatKit component, used if the stage has a domain key. It loads only from OpenAI's CDN. If the network, a
// blocker or OpenAI's domain allowlist prevents that, the page uses the built-in client.
import { addressOf, assistantPicker, assistantsOf, brandFor, chosenAssistant, featuresFor, urlOf } from "./assistants.js";
import { brandOf, lighter } from "./brand.js";
import { chatClient } from "./chat-client.js";
import { h } from "./dom.js";
import { TOOLS } from "./forms.js";
import { peopleLine, watchHeld } from "./people.js";
import { currentLanguage, t } from "./texts.js";
import { setTheme, theme } from "./theme.js";

const SCRIPT = "https://cdn.platform.openai.com/deployments/chatkit/chatkit.js";
const LOADED_IN_MS = 3_000; // timeout of the script; after that, the built-in client serves users better
const STARTED_IN_MS = 10_000; // timeout of its frame, after the script
const ACCEPT = { // what the server takes: docs/reference/attachments.md
  "image/png": [".png"], "image/jpeg": [".jpg", ".jpeg"], "image/gif": [".gif"], "image/webp": [".webp"],
  "application/pdf": [".pdf"], "application/json": [".json"],
  "text/plain": [".txt"], "text/markdown": [".md"], "text/csv": [".csv"],
};
// SupportedLocale in the types of @openai/chatkit 1.9.0
const LOCALES = ("bg bn bs ca cs da de el en es et fi fr gu hi hr hu hy id is it ja ka kn ko lv mk mr ms my nb nl pl pt ro ru "
  + "sk sl so sq sr sv sw ta te th tr uk vi zh zh-Hant").split(" ");

/**
 * Show ChatKit in place of `app`, which is hidden. Resolves with a reason when ChatKit fails, at once or later, after
 * removing it. While ChatKit works, the promise is pending.
 */
export async function serveChatKit({ config, session, host, app }) {
  if (!(await loaded())) return `ChatKit did not come from ${new URL(SCRIPT).host} within ${LOADED_IN_MS / 1000} s.`;
  const bar = h("div.chatkit-bar", { role: "status" });
  const say = (text) => bar.prepend(h("p", {}, text));
  await session.finish().catch((error) => say(error.message));
  if (session.isHosted && !(await session.getToken())) say(t("sign_in_at_host"));
  const assistant = chosenAssistant(config);
  bar.append(assistantPicker(config, (other) => location[host ? "replace" : "assign"](addressOf(other, config))) ?? "", account(session, say));
  const chats = assistantsOf(config).map((other) => chatClient({ url: urlOf(other), getToken: session.getToken, tokenHeader: config.token_header, language: currentLanguage() }));
  const chat = chats[assistantsOf(config).indexOf(assistant)];
  await session.takeAlong(chats).catch((error) => say(error.message));
  const element = /** @type {import("@openai/chatkit").OpenAIChatKit} */ (document.createElement("openai-chatkit"));
  const brand = brandFor(brandOf(config), assistant);
  const shown = { ...config, features: featuresFor(config.features, assistant) };
  const paint = () => element.setOptions(optionsOf(shown, brand, chat, host, () => { setTheme(theme() === "dark" ? "light" : "dark"); paint(); }));
  document.title = brand.title;
  const system = matchMedia("(prefers-color-scheme: dark)");
  element.addEventListener("chatkit.thread.change", ({ detail }) => {
    history.replaceState(null, "", detail.threadId ? `#thread=${detail.threadId}` : location.pathname + location.search);
    host?.show(assistant.name, detail.threadId);
  });
  if (shown.features.people) bar.append(watchedBy(element, chat, say));
  element.addEventListener("chatkit.thread.load.end", async ({ detail }) => {
    if (await chat.follow(detail.threadId)) await element.fetchUpdates(); // the page was reloaded during an answer
    if (host) host.isAnswering = false;
  });
  if (host) {
    element.addEventListener("chatkit.response.start", () => { host.isAnswering = true; });
    element.addEventListener("chatkit.response.end", () => { host.isAnswering = false; });
    host.addEventListener("focus", () => element.focusComposer());
  }
  element.addEventListener("chatkit.effect", ({ detail: { name, data } }) => {
    if (name === "set_theme") { setTheme(data?.theme); paint(); }
    element.dispatchEvent(new CustomEvent("chat-effect", { bubbles: true, detail: { name, data } })); // for scripts that extend this page
  });
  element.addEventListener("chatkit.error", ({ detail }) => console.warn("ChatKit:", detail.error));
  try {
    paint();
  } catch (error) {
    return `ChatKit did not accept its options: ${error}`; // OpenAI may change the script at any time
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

/** The line with the button that asks for a person; shows what people write in a thread that one of them has. */
function watchedBy(element, chat, say) {
  let [opened, watched] = [null, null];
  const line = peopleLine(() => chat.askForPerson(opened).then(() => watched.now(), (error) => say(error.message)));
  element.addEventListener("chatkit.thread.change", ({ detail }) => {
    watched?.stop();
    opened = detail.threadId;
    line.draw(null, opened);
    if (!opened) return;
    const refresh = () => element.fetchUpdates().then(() => false);
    watched = watchHeld({ held: () => chat.held(opened), refresh, show: (held) => line.draw(held, opened) });
  });
  element.addEventListener("chatkit.response.end", () => watched?.now()); // the agent may have asked for a person
  return line;
}

/** Whether the component loads in time. */
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

/** Resolves with the reason when ChatKit fails. If OpenAI does not know the page's domain, ChatKit silently removes its frame. */
function failureOf(element) {
  return new Promise((failed) => {
    const late = setTimeout(failed, STARTED_IN_MS, "ChatKit's frame did not come.");
    element.addEventListener("chatkit.ready", () => clearTimeout(late), { once: true });
    if (!element.shadowRoot) return;
    const framed = () => element.shadowRoot.querySelector("iframe") !== null;
    let was = framed();
    new MutationObserver(() => {
      if (was && !framed()) failed(`ChatKit gave up. Is ${location.host} on OpenAI's list of domains? See docs/how-to/frontend.md.`);
      was = framed();
    }).observe(element.shadowRoot, { childList: true, subtree: true });
  });
}

/** @returns {import("@openai/chatkit").ChatKitOptions} */
function optionsOf({ domain_key: domainKey, features }, brand, chat, host, changeTheme) {
  const colorScheme = /** @type {"dark" | "light"} */ (theme());
  const dark = colorScheme === "dark";
  const { models = [], tools = [] } = features;
  return {
    api: { url: chat.url, domainKey, fetch: chat.fetch, uploadStrategy: { type: "two_phase" } },
    theme: brand.accent ? { colorScheme, color: { accent: { primary: dark ? lighter(brand.accent) : brand.accent, level: 1 } } } : colorScheme,
    locale: localeOf(currentLanguage()),
    frameTitle: brand.title,
    initialThread: new URLSearchParams(location.hash.slice(1)).get("thread"),
    header: {
      ...(host && { leftAction: { icon: /** @type {const} */ ("collapse-small"), onClick: () => host.close() } }),
      rightAction: { icon: dark ? "light-mode" : "dark-mode", onClick: changeTheme },
    },
    history: { enabled: true, showDelete: true, showRename: true },
    startScreen: { greeting: brand.greeting, prompts: brand.prompts },
    ...disclaimerOf(brand),
    threadItemActions: { feedback: true, retry: true },
    thread: { autoScroll: true },
    composer: {
      attachments: {
        enabled: features.attachments, accept: ACCEPT, maxCount: 10,
        maxSize: { "image/*": features.max_image_bytes, "*": features.max_file_bytes },
      },
      dictation: { enabled: features.dictation },
      ...(tools.length && { tools: tools.map((tool) => ({ ...tool, icon: /** @type {const} */ ("bolt") })) }),
      ...(models.length > 1 && { models: models.map((model, index) => (index ? model : { ...model, default: true })) }),
    },
    commands: { enabled: true }, // the menu behind "/": files, models and tools
    entities: { // of sources that can be clicked; a search for @mentions is the page's own: docs/reference/chatkit.md
      onClick: (entity) => { document.dispatchEvent(new CustomEvent("chat-entity", { detail: entity })); },
    },
    widgets: {
      onAction: async (action, item) => { // of buttons with handler: "client"
        document.dispatchEvent(new CustomEvent("chat-action", { detail: { ...action, item } }));
      },
    },
    onClientTool,
  };
}

/** The component's name for a language; undefined if it has no translation. */
function localeOf(language) {
  const name = LOCALES.includes(language) ? language : language.split("-")[0];
  return /** @type {import("@openai/chatkit").ChatKitOptions["locale"]} */ (LOCALES.includes(name) ? name : undefined);
}

/** ChatKit's disclaimer is Markdown. */
function disclaimerOf({ disclaimer, privacy_url: url }) {
  const text = [disclaimer, url && `[${t("privacy_policy")}](${url})`].filter(Boolean).join(" ");
  return text && { disclaimer: { text } };
}

/** Runs a client tool after the user has allowed it. */
async function onClientTool({ name }) {
  const tool = Object.hasOwn(TOOLS, name) ? TOOLS[name] : null;
  if (!tool) return { error: "This page has no such tool." };
  if (!confirm(t("allow_request", { request: t(tool.request) }))) return { error: "The user refused." };
  return tool.run().catch(() => ({ error: "The browser did not allow it." }));
}

/** The sign-in or sign-out button, which ChatKit leaves to the page. */
function account(session, say) {
  const button = (text, onclick) => h("button.plain", { type: "button", onclick }, text);
  if (session.canSignOut) return button(t("sign_out"), async () => { if (!(await session.signOut())) location.replace(location.pathname); });
  if (session.canSignIn) return button(t("sign_in"), () => session.signIn().catch((error) => say(error.message)));
  return "";
}
