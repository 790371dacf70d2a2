/**
 * What a page needs to talk to this server well: its token, the id of each turn, Stop, uploads, and the way back into a
 * turn that runs. Built into one file without dependencies; types: chat-client.d.ts beside it, prose: docs/how-to/frontend.md.
 *
 *   import { chatClient } from "./chat-client.js";
 *   const chat = chatClient({ url: "https://chat.example.com/chatkit", getToken });
 *   chatkit.setOptions({ api: { url, domainKey, fetch: chat.fetch, uploadStrategy: { type: "two_phase" } } });
 *
 * - Every request to `url` carries `Authorization: Bearer <token>`; others (an upload to S3) carry nothing of ours.
 * - Every streaming request carries `x-chat-turn`. When its stream broke off and the same body is sent again, as
 *   ChatKit's transport does by itself, it carries the same id: the server attaches it to the turn that runs.
 * - When the signal aborts before the stream has ended, and the page is visible, the user pressed Stop: the server is
 *   told. Never after a normal end (the signal aborts then, too), never because a tab was hidden.
 */

import { ChatError, emptyStream, isFinished, isStream, passed, resultOf } from "./client/answers.js";
import { guestToken } from "./client/guests.js";
import { senderOf } from "./client/sending.js";
import { stopsOf } from "./client/stops.js";
import { eventsAcrossBreaks } from "./client/streams.js";
import { newId } from "./client/tries.js";
import { uploaded, uploadsOf } from "./client/uploads.js";

/** @import { ChatClient } from "./chat-client.d.ts" */

const STREAMING = new Set([
  "threads.create", "threads.add_user_message", "threads.add_client_tool_output",
  "threads.add_structured_input", "threads.retry_after_item", "threads.custom_action",
]);
const ATTACH_FOR_MS = 60_000; // the same words later than that are meant anew
const RESUME_FOR_MS = 16 * 60_000; // unless the request says which events it has seen: for as long as the server knows a turn

export { ChatError, guestToken };

/** @type {typeof import("./chat-client.d.ts").chatClient} */
export function chatClient({
  url,
  getToken = () => null,
  tokenHeader = "authorization",
  language,
  fetch = globalThis.fetch,
  document = globalThis.document,
  XMLHttpRequest = globalThis.XMLHttpRequest,
}) {
  const base = globalThis.location?.href ?? "http://no-page.invalid"; // while a server renders the page
  const endpoint = new URL(url, base).href;
  const send = senderOf(getToken, tokenHeader, fetch, language);
  const { stop, watch } = stopsOf(endpoint, send, document);
  const broken = new Map(); // body -> { turn, at } of the streams that broke off and may be asked for again
  const followed = new Set(); // turns, so that the load that follows a turn's end does not follow it again

  async function open(target, init) {
    init.signal?.throwIfAborted();
    const headers = new Headers(init.headers);
    const before = broken.get(init.body);
    const within = headers.has("last-event-id") ? RESUME_FOR_MS : ATTACH_FOR_MS; // a laptop may have slept meanwhile
    const turn = before && Date.now() - before.at < within ? before.turn : newId();
    broken.delete(init.body);
    headers.set("x-chat-turn", turn);
    let met = false; // whether the server has answered, and so knows the turn
    const onBreak = () => {
      for (const [body, { at }] of broken) if (Date.now() - at >= RESUME_FOR_MS) broken.delete(body);
      broken.set(init.body, { turn, at: Date.now() });
    };
    const stream = watch(turn, { signal: init.signal, met: () => met, onBreak });
    try {
      const answer = await send(target, { ...init, headers });
      met = true;
      if (answer.status >= 400 && answer.status < 500) stream.over(); // final: the same body again is a new turn
      else if (isFinished(answer)) {
        stream.over();
        return emptyStream(answer);
      } else if (!isStream(answer)) stream.broke(); // a 5xx, or a proxy's page: the transport will ask again
      if (!answer.ok || !answer.body) return answer;
      const { status, statusText, headers: told } = answer;
      return new Response(passed(answer.body, stream), { status, statusText, headers: told });
    } catch (error) {
      stream.broke();
      throw error;
    }
  }

  /** @type {ChatClient["fetch"]} */
  async function fetched(resource, init = {}) {
    const target = new URL(resource instanceof Request ? resource.url : resource, base).href;
    if (target !== endpoint && !target.startsWith(`${endpoint}/`)) return uploaded(await fetch.call(globalThis, resource, init), init);
    if (resource instanceof Request) {
      const { method, headers, signal } = resource;
      init = { method, headers, signal, body: (await resource.clone().text()) || undefined, ...init };
    }
    return STREAMING.has(typeOf(init.body)) ? open(target, init) : send(target, init);
  }

  /** @type {ChatClient["call"]} */
  async function call(type, params = {}, { signal } = {}) {
    const headers = { "content-type": "application/json" };
    return resultOf(await fetched(endpoint, { method: "POST", headers, body: JSON.stringify({ type, params }), signal }));
  }

  async function stateOf(threadId, signal) {
    return resultOf(await send(`${endpoint}/threads/${encodeURIComponent(threadId)}/turn`, { signal }));
  }

  /** @type {ChatClient["running"]} */
  const running = async (threadId, { signal } = {}) => (await stateOf(threadId, signal)).turn_id;

  /** @type {ChatClient["held"]} */
  const held = async (threadId, { signal } = {}) => (await stateOf(threadId, signal)).held ?? null;

  /** @type {ChatClient["askForPerson"]} */
  async function askForPerson(threadId, { signal } = {}) {
    const [headers, body] = [{ "content-type": "application/json" }, JSON.stringify({ thread_id: threadId })];
    return (await resultOf(await send(`${endpoint}/handoff`, { method: "POST", headers, body, signal }))).held;
  }

  /** @type {ChatClient["resume"]} */
  async function* resume(turnId, { after = 0, signal } = {}) {
    signal?.throwIfAborted();
    const stream = watch(turnId, { signal, met: () => true, onBreak: () => {} });
    const events = `${endpoint}/turns/${encodeURIComponent(turnId)}/events`;
    const open = (seen) => send(events, { headers: { accept: "text/event-stream", "last-event-id": String(seen) }, signal });
    try {
      yield* eventsAcrossBreaks(open, { seen: after, signal });
    } finally {
      stream.over(); // ended, or nobody listens any more: an abort from now on is no Stop
    }
  }

  /** @type {ChatClient["follow"]} */
  async function follow(threadId) {
    const turn = await running(threadId);
    if (turn === null || followed.has(turn)) return false;
    followed.add(turn);
    for await (const _ of resume(turn)); // ChatKit cannot join a stream: it loads the thread when this is over
    return true;
  }

  return { url: endpoint, fetch: fetched, call, stop, upload: uploadsOf(call, XMLHttpRequest), running, held, askForPerson, resume, follow };
}

function typeOf(body) {
  try {
    return JSON.parse(body)?.type;
  } catch {
    return undefined;
  }
}
