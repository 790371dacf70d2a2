// Which client runs in this page: OpenAI's ChatKit where a domain key is set and its script loads, else our own.
import { serveChatKit } from "./chatkit.js";
import "./own.js";
import { Session } from "./session.js";
import "./theme.js";

/** What the server tells the page: page_of() in lambda_src/http/page.py. */
const config = JSON.parse(document.getElementById("page-config").textContent);
const captcha = async () => globalThis.chatCaptcha?.(); // yours to define: docs/moderation.md
const session = new Session(config.auth, { tokenHeader: config.token_header, captcha });
const app = document.querySelector("chat-app");

if (config.domain_key) console.warn(await serveChatKit({ config, session, app }));
app.start({ config, session });
