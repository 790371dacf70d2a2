/**
 * What a ChatKit client needs to talk to this server well: its token, the id of each turn, and Stop. No dependencies.
 *
 *   import { chatFetch } from "/chat-client.js";
 *   chatkit.setOptions({ api: { url: "/chatkit", domainKey: "...", fetch: chatFetch({ url: "/chatkit", getToken }) } });
 *
 * - Every request to `url` carries `Authorization: Bearer <token>`; others (an upload to S3) pass untouched. The token is
 *   what getToken() gave; it is asked again a minute before the token ends, and once more after a 401, with
 *   { renew: true }: then the request is repeated, once.
 * - Every streaming request carries `x-chat-turn`. When its stream broke off and the same body is sent again, as
 *   ChatKit's transport does by itself, it carries the same id: the server attaches it to the turn that runs.
 * - When the signal aborts before the stream has ended, and the page is visible, the user pressed Stop: the server is
 *   told. Never after a normal end (the signal aborts then, too), never because a tab was hidden.
 */

const STREAMING = new Set([
  "threads.create", "threads.add_user_message", "threads.add_client_tool_output",
  "threads.add_structured_input", "threads.retry_after_item", "threads.custom_action",
]);

const RENEW_BEFORE_MS = 60_000; // the server forgives a minute, and a request may wait that long for its turn

const RETRY_MS = 60_000; // the same words later than that are meant anew

/**
 * @param {object} options
 * @param {string} options.url  where POST /chatkit is
 * @param {(how: { renew: boolean }) => (string | null | Promise<string | null>)} [options.getToken]  the bearer token,
 *   if people sign in; `renew`: the one it gave last is refused or about to end
 * @param {typeof globalThis.fetch} [options.fetch]  what sends; the browser's own by default
 * @param {{ visibilityState: string }} [options.document]  whether the page is visible; the browser's own by default
 * @returns {typeof globalThis.fetch}
 */
export function chatFetch({ url, getToken = () => null, fetch = globalThis.fetch, document = globalThis.document }) {
  const send = (...what) => fetch(...what);
  const base = globalThis.location?.href;
  const endpoint = new URL(url, base).href;
  let broken = null; // { body, turn, at } of the last stream that neither ended nor was stopped

  let token = null;
  let asking = null; // the promise of the next token, shared by all who wait for it

  function renewed() {
    asking ??= Promise.resolve(getToken({ renew: token !== null })).then((next) => { token = next; })
      .finally(() => { asking = null; });
    return asking;
  }

  async function sendAuthorized(resource, init) {
    if (endOf(token) - Date.now() < RENEW_BEFORE_MS) await renewed();
    const used = token;
    const attempt = () => {
      const headers = new Headers(init.headers);
      if (token) headers.set("authorization", `Bearer ${token}`);
      return send(resource instanceof Request ? resource.clone() : resource, { ...init, headers });
    };
    const answer = await attempt();
    if (answer.status !== 401 || used === null) return answer;
    if (token === used) await renewed();
    return token === used ? answer : attempt();
  }

  async function stop(turn) {
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ turn_id: turn });
    await sendAuthorized(`${endpoint}/stop`, { method: "POST", headers, body, keepalive: true });
  }

  return async function fetchChat(resource, init = {}) {
    const target = new URL(resource instanceof Request ? resource.url : resource, base).href;
    if (target !== endpoint && !target.startsWith(`${endpoint}/`)) return send(resource, init);
    const headers = new Headers(init.headers ?? (resource instanceof Request ? resource.headers : {}));
    if (!STREAMING.has(typeOf(init.body))) return sendAuthorized(resource, { ...init, headers });

    const body = init.body;
    const again = broken?.body === body && Date.now() - broken.at < RETRY_MS;
    const turn = again ? broken.turn : crypto.randomUUID();
    broken = { body, turn, at: Date.now() };
    headers.set("x-chat-turn", turn);
    let over = false;
    const end = () => {
      over = true;
      if (broken?.turn === turn) broken = null;
    };
    init.signal?.addEventListener("abort", () => {
      if (over || document?.visibilityState === "hidden") return;
      end();
      stop(turn).catch(() => {}); // the page is leaving, or offline: the deadline ends the turn
    }, { once: true });

    const answer = await sendAuthorized(resource, { ...init, headers });
    if (answer.status >= 400 && answer.status < 500) end(); // final: the same body again is a new turn
    if (!answer.ok || !answer.body) return answer;
    const watched = answer.body.pipeThrough(new TransformStream({ flush: end }));
    return new Response(watched, { status: answer.status, statusText: answer.statusText, headers: answer.headers });
  };
}

/** When a JWT ends, in epoch milliseconds; a token that does not say so is asked for anew each time. */
function endOf(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return claims.exp * 1000 || 0;
  } catch {
    return 0;
  }
}

function typeOf(body) {
  try {
    return JSON.parse(body)?.type;
  } catch {
    return undefined;
  }
}
