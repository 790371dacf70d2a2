/**
 * What a page needs to talk to this server well: its token, the id of each turn, Stop, uploads, and the way back into a
 * turn that runs. One file, no dependencies; the types are in chat-client.d.ts beside it, the prose in docs/frontend.md.
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

/** @import { ChatClient } from "./chat-client.d.ts" */

const STREAMING = new Set([
  "threads.create", "threads.add_user_message", "threads.add_client_tool_output",
  "threads.add_structured_input", "threads.retry_after_item", "threads.custom_action",
]);
const RENEW_BEFORE_MS = 60_000; // the server forgives a minute, and a request may wait that long for its turn
const ATTACH_FOR_MS = 60_000; // the same words later than that are meant anew
const STOP_AGAIN_MS = [0, 500, 1_000, 2_000, 4_000]; // waits before each try: Stop may overtake the request it stops
const TRY_AGAIN_MS = [0, 500, 1_500]; // of an upload, and of following a turn: since something last went well
const LANDED = 412; // S3's answer to If-None-Match: * when an earlier try arrived and only its answer was lost
// By its name: browsers call a .md nothing, and a .csv on Windows a spreadsheet.
const TEXT_TYPES = { csv: "text/csv", json: "application/json", md: "text/markdown", txt: "text/plain" };

/**
 * What the server refused: `message` is its sentence, to be shown; `code` its error's name, `status` HTTP's. After
 * `retryAfterS` seconds the same may be asked again, where that is known (else 0).
 */
export class ChatError extends Error {
  constructor(message, { status, code, retryAfterS = 0 }) {
    super(message);
    this.name = "ChatError";
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }

  /** The error that an answer is, whose body is not read yet. */
  static async of(answer) {
    const { message, error } = (await answer.json().catch(() => null)) ?? {};
    const retryAfterS = Number(answer.headers.get("retry-after")) || 0;
    const text = message ?? `The server answered ${answer.status} and no sentence.`;
    return new ChatError(text, { status: answer.status, code: error ?? "http_error", retryAfterS });
  }
}

/** Only the fetch, for who needs nothing else. */
export const chatFetch = (options) => chatClient(options).fetch;

/** @type {typeof import("./chat-client.d.ts").chatClient} */
export function chatClient({
  url,
  getToken = () => null,
  tokenHeader = "authorization",
  fetch = globalThis.fetch,
  document = globalThis.document,
  XMLHttpRequest = globalThis.XMLHttpRequest,
}) {
  const base = globalThis.location?.href ?? "http://no-page.invalid"; // while a server renders the page
  const endpoint = new URL(url, base).href;
  const send = senderOf(getToken, tokenHeader, fetch);
  const { stop, watch } = stopsOf(endpoint, send, document);
  const broken = new Map(); // body -> { turn, at } of the streams that broke off and may be asked for again
  const followed = new Set(); // turns, so that the load that follows a turn's end does not follow it again

  async function open(target, init) {
    init.signal?.throwIfAborted();
    const before = broken.get(init.body);
    const turn = before && Date.now() - before.at < ATTACH_FOR_MS ? before.turn : newId();
    broken.delete(init.body);
    const headers = new Headers(init.headers);
    headers.set("x-chat-turn", turn);
    let met = false; // whether the server has answered, and so knows the turn
    const onBreak = () => {
      for (const [body, { at }] of broken) if (Date.now() - at >= ATTACH_FOR_MS) broken.delete(body);
      broken.set(init.body, { turn, at: Date.now() });
    };
    const stream = watch(turn, { signal: init.signal, met: () => met, onBreak });
    try {
      const answer = await send(target, { ...init, headers });
      met = true;
      if (answer.status >= 400 && answer.status < 500) stream.over(); // final: the same body again is a new turn
      else if (!isStream(answer)) stream.broke(); // a 5xx, or a proxy's page: the transport will ask again
      if (!answer.ok || !answer.body) return answer;
      const { status, statusText, headers: told } = answer;
      return new Response(passed(answer.body, stream), { status, statusText, headers: told });
    } catch (error) {
      stream.broke();
      throw error;
    }
  }

  /** @type {ChatClient["fetch"]} */
  async function chatFetch(resource, init = {}) {
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
    return resultOf(await chatFetch(endpoint, { method: "POST", headers, body: JSON.stringify({ type, params }), signal }));
  }

  /** @type {ChatClient["upload"]} */
  async function upload(file, { onProgress, signal } = {}) {
    const mime_type = TEXT_TYPES[file.name.split(".").pop().toLowerCase()] ?? file.type;
    /** @type {any} */
    const announced = await call("attachments.create", { name: file.name, size: file.size, mime_type }, { signal });
    const { upload_descriptor: to, ...attachment } = announced;
    try {
      const tries = triesOf(signal);
      const sent = () => put(file, to, { onProgress, signal, XMLHttpRequest }).then(() => true, tries.failed);
      do await tries.next(); while (!await sent());
    } catch (error) {
      call("attachments.delete", { attachment_id: attachment.id }).catch(() => {}); // else it goes by itself, in a day
      throw error;
    }
    return attachment;
  }

  /** @type {ChatClient["running"]} */
  async function running(threadId, { signal } = {}) {
    return (await resultOf(await send(`${endpoint}/threads/${encodeURIComponent(threadId)}/turn`, { signal }))).turn_id;
  }

  /** @type {ChatClient["resume"]} */
  async function* resume(turnId, { after = 0, signal } = {}) {
    signal?.throwIfAborted();
    const stream = watch(turnId, { signal, met: () => true, onBreak: () => {} });
    const tries = triesOf(signal);
    let seen = after;
    try {
      while (true) {
        try {
          await tries.next();
          const headers = { accept: "text/event-stream", "last-event-id": String(seen) };
          const answer = await send(`${endpoint}/turns/${encodeURIComponent(turnId)}/events`, { headers, signal });
          if (!answer.ok) await resultOf(answer);
          for await (const { id, data } of eventsOf(answer.body)) {
            tries.wentWell();
            seen = id ?? seen;
            yield JSON.parse(data);
          }
          return;
        } catch (error) {
          tries.failed(error);
        }
      }
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

  return { url: endpoint, fetch: chatFetch, call, stop, upload, running, resume, follow };
}

/** fetch with the token; repeated once when it is refused and there is another. */
function senderOf(getToken, tokenHeader, fetch) {
  const tokens = tokensOf(getToken);
  return async function send(target, init) {
    const attempt = async (token) => {
      const headers = new Headers(init.headers);
      if (token) headers.set(tokenHeader, `Bearer ${token}`);
      if (tokenHeader !== "authorization" && init.body) headers.set("x-amz-content-sha256", await hashOf(init.body));
      return fetch.call(globalThis, target, { ...init, headers });
    };
    const used = await tokens.current();
    const answer = await attempt(used);
    if (answer.status !== 401) return answer;
    const other = await tokens.insteadOf(used);
    if (other === null) return answer;
    await answer.body?.cancel();
    return attempt(other);
  };
}

/** How turns are stopped, and who notices that a person wants it. */
function stopsOf(endpoint, send, document) {
  /** @type {ChatClient["stop"]} */
  async function stop(turnId) {
    const body = JSON.stringify({ turn_id: turnId });
    const headers = { "content-type": "application/json" };
    const answer = await send(`${endpoint}/stop`, { method: "POST", headers, body, keepalive: true });
    return (await resultOf(answer)).stopped;
  }

  /** Until the server knows: it may not have met the turn yet, or the network may be gone for a moment. */
  async function stopSurely(turnId, met) {
    for (const wait of STOP_AGAIN_MS) {
      await pause(wait);
      const stopped = await stop(turnId).catch((error) => (isFinal(error) ? true : null));
      if (stopped || (stopped === false && met())) return;
    }
  }

  /** One stream: `state` is "open" until it is "over" (ended, refused, stopped) or "broken". */
  function watch(turnId, { signal, met, onBreak }) {
    const stream = { state: "open" };
    stream.over = () => { if (stream.state === "open") stream.state = "over"; };
    stream.broke = () => { if (stream.state === "open") { stream.state = "broken"; onBreak(); } };
    signal?.addEventListener("abort", () => {
      if (stream.state !== "open") return;
      if (document?.visibilityState === "hidden") return stream.broke();
      stream.over();
      stopSurely(turnId, met); // never rejects
    }, { once: true });
    return stream;
  }

  return { stop, watch };
}

/** The token in use: asked for once, renewed before it ends or when the server refuses it, by one request for all. */
function tokensOf(getToken) {
  let token = null;
  let doubted = null; // a renewed token that seems to end already: the clock here is wrong, the server's word counts
  let asking = null;

  function ask(renew) {
    asking ??= (async () => {
      token = (await getToken({ renew })) ?? null;
      doubted = renew && leftOf(token) < RENEW_BEFORE_MS ? token : null;
    })().finally(() => { asking = null; });
    return asking;
  }

  return {
    async current() {
      const left = leftOf(token);
      if (Number.isNaN(left)) await ask(false); // none yet, or one that does not say when it ends
      else if (left < RENEW_BEFORE_MS && token !== doubted) await ask(true);
      return token;
    },
    /** Another one than was refused; null when there is none. */
    async insteadOf(refused) {
      if (token === refused) await ask(true).catch(() => {}); // the 401 is what the page is told
      return token === refused ? null : token;
    },
  };
}

/** Milliseconds until a JWT ends; NaN for what does not say so. */
function leftOf(token) {
  try {
    const { exp } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return exp * 1000 - Date.now();
  } catch {
    return NaN;
  }
}

/** `body` as it is; `stream` learns whether it ended, broke off, or was no longer wanted. */
function passed(body, stream) {
  const reader = body.getReader();
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
        stream.over();
        controller.close();
      } catch (error) {
        stream.broke();
        controller.error(error);
      }
    },
    cancel(reason) {
      stream.broke();
      return reader.cancel(reason);
    },
  });
}

/** The messages of an event stream: { id, data }, id as a number. Other lines (`: ka`, retry) are passed over. */
async function* eventsOf(body) {
  let [rest, id, data] = ["", null, []];
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let chunk; !(chunk = await reader.read()).done;) {
      const lines = (rest + chunk.value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data: ")) data.push(line.slice(6));
        else if (line.startsWith("id: ")) id = Number(line.slice(4));
        else if (line === "" && data.length) {
          yield { id, data: data.join("\n") };
          data = [];
        }
      }
    }
  } finally {
    await reader.cancel().catch(() => {}); // it broke off already
  }
}

function put(file, to, { onProgress, signal, XMLHttpRequest }) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = new XMLHttpRequest(); // fetch tells nobody how far an upload is
    const abort = () => request.abort();
    const end = (settle, value) => { signal?.removeEventListener("abort", abort); settle(value); };
    request.open(to.method, to.url);
    for (const [name, value] of Object.entries(to.headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded }) => onProgress?.(loaded, file.size);
    request.onabort = () => end(reject, signal.reason);
    request.onerror = () => end(reject, new TypeError(`The upload of ${file.name} broke off.`));
    request.onload = () => {
      const { status } = request;
      if (status !== LANDED && (status < 200 || status > 299))
        return end(reject, new ChatError(`The upload of ${file.name} was refused. Attach it again.`, { status, code: "upload" }));
      onProgress?.(file.size, file.size);
      end(resolve);
    };
    signal?.addEventListener("abort", abort, { once: true });
    request.send(file);
  });
}

/** Tries that may go wrong: `next` waits, `failed` throws what no further try would mend. */
function triesOf(signal) {
  let failures = 0;
  return {
    next: () => pause(TRY_AGAIN_MS[failures]),
    wentWell: () => { failures = 0; },
    failed(error) {
      failures += 1;
      if (signal?.aborted || isFinal(error) || failures === TRY_AGAIN_MS.length) throw error;
    },
  };
}

/** ChatKit's own upload: that an earlier try landed is no failure. */
function uploaded(answer, { method, headers } = /** @type {RequestInit} */ ({})) {
  const once = method === "PUT" && new Headers(headers).get("if-none-match") === "*";
  return once && answer.status === LANDED ? new Response(null, { status: 200 }) : answer;
}

async function resultOf(answer) {
  const result = answer.ok ? await answer.clone().json().catch(() => null) : null;
  if (result === null) throw await ChatError.of(answer);
  return result;
}

function typeOf(body) {
  try {
    return JSON.parse(body)?.type;
  } catch {
    return undefined;
  }
}

async function hashOf(text) {
  return hexOf(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));
}

function newId() { // crypto.randomUUID is missing where a page has no TLS, as on a phone beside the laptop
  return hexOf(crypto.getRandomValues(new Uint8Array(16)));
}

const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const pause = (ms) => (ms ? new Promise((go) => { setTimeout(go, ms); }) : undefined);
const isStream = (answer) => answer.ok && (answer.headers.get("content-type") ?? "").startsWith("text/event-stream");
const isFinal = (error) => error instanceof ChatError && error.status < 500;
