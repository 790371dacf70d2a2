// Which client runs in this page: OpenAI's ChatKit where a domainKey is set and its script loads, else our own.
import { createSession } from "./session.js";

/** What the server tells the page: see lambda_src/page.py, PageConfig. */
const config = JSON.parse(document.getElementById("page-config").textContent);
const session = createSession(config.auth);

async function start() {
  const { startOwn } = await import("./own.js");
  await startOwn({ config, session });
}

await start();
