// Entry point of the page: starts OpenAI's ChatKit if a domain key is set and its script loads, else the built-in client.
import "./storage.js"; // first: the others use what it replaces
import { serveChatKit } from "./chatkit.js";
import { hostOf } from "./host.js";
import "./own.js";
import { Session } from "./session.js";
import { useLanguage } from "./texts.js";
import "./theme.js";

/** The page's configuration, from page_of() in lambda_src/http/page.py. */
const config = JSON.parse(document.getElementById("page-config").textContent);
await useLanguage(config);
const captcha = async () => globalThis.chatCaptcha?.(); // yours to define: docs/how-to/captcha.md
const host = await hostOf(config.embedded_by);
const session = new Session(config.auth, { tokenHeader: config.token_header, captcha, host });
if (host) {
  await session.identify();
  host.addEventListener("identity", () => session.identify());
  session.addEventListener("person", () => location.reload()); // so that nothing of the other user is left
}
const app = document.querySelector("chat-app");

if (config.domain_key) console.warn(await serveChatKit({ config, session, host, app }));
app.start({ config, session, host });
