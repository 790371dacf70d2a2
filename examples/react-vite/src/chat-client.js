// chatkit-lambda's helper for front ends of your own, built of web/src/chat-client.js and web/src/client/.

// src/client/answers.js
var ChatError = class _ChatError extends Error {
  constructor(message, { status, code, retryAfterS = 0 }) {
    super(message);
    this.name = "ChatError";
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
  /** The error that an answer is, whose body is not read yet. */
  static async of(answer) {
    const { message, error } = await answer.json().catch(() => null) ?? {};
    const retryAfterS = Number(answer.headers.get("retry-after")) || 0;
    const text = message ?? `The server answered ${answer.status} and no sentence.`;
    return new _ChatError(text, { status: answer.status, code: error ?? "http_error", retryAfterS });
  }
};
async function resultOf(answer) {
  const result = answer.ok ? await answer.clone().json().catch(() => null) : null;
  if (result === null) throw await ChatError.of(answer);
  return result;
}
var isStream = (answer) => answer.ok && (answer.headers.get("content-type") ?? "").startsWith("text/event-stream");
var isFinished = (answer) => answer.status === 204;
var emptyStream = ({ headers }) => new Response("", { headers: { ...Object.fromEntries(headers), "content-type": "text/event-stream" } });
var isFinal = (error) => error instanceof ChatError && error.status < 500;
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
    }
  });
}
async function* eventsOf(body) {
  let [rest, id, data] = ["", null, []];
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let chunk; !(chunk = await reader.read()).done; ) {
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
    await reader.cancel().catch(() => {
    });
  }
}

// src/client/tries.js
var TRY_AGAIN_MS = [0, 500, 1500];
function triesOf(signal) {
  let failures = 0;
  return {
    next: () => pause(TRY_AGAIN_MS[failures]),
    wentWell: () => {
      failures = 0;
    },
    failed(error) {
      failures += 1;
      if (signal?.aborted || isFinal(error) || failures === TRY_AGAIN_MS.length) throw error;
    }
  };
}
var pause = (ms, signal) => ms ? new Promise((go, stop) => {
  setTimeout(go, ms);
  signal?.addEventListener("abort", () => stop(signal.reason), { once: true });
}) : void 0;
function newId() {
  return hexOf(crypto.getRandomValues(new Uint8Array(16)));
}
var hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

// src/client/sending.js
var RENEW_BEFORE_MS = 6e4;
var SIGN_IN_TRIES = 3;
var SIGN_IN_WAIT_MS = [2e3, 6e4];
var UNCHECKED = /* @__PURE__ */ new Set([401, 503]);
var BODILESS = /* @__PURE__ */ new Set(["GET", "HEAD"]);
function senderOf(getToken, tokenHeader, fetch) {
  const tokens = tokensOf(getToken);
  return async function send(target, init) {
    init = await signable(init, tokenHeader);
    const attempt = async (token) => {
      const headers = new Headers(init.headers);
      if (token) headers.set(tokenHeader, `Bearer ${token}`);
      return fetch.call(globalThis, target, { ...init, headers });
    };
    const authorized = async () => {
      const used = await tokens.current();
      const answer = await attempt(used);
      if (answer.status !== 401 || await isUnchecked(answer)) return answer;
      const other = await tokens.insteadOf(used);
      if (other === null) return answer;
      await answer.body?.cancel();
      return attempt(other);
    };
    for (let tries = 1; ; tries += 1) {
      const answer = await authorized();
      if (tries === SIGN_IN_TRIES || !await isUnchecked(answer)) return answer;
      const [least, most] = SIGN_IN_WAIT_MS;
      await pause(Math.min(Number(answer.headers.get("retry-after")) * 1e3 || least, most), init.signal);
    }
  };
}
var isUnchecked = async (answer) => UNCHECKED.has(answer.status) && (answer.headers.get("content-type") ?? "").startsWith("application/json") && (await answer.clone().json().catch(() => null))?.error === "sign_in_unavailable";
async function signable(init, tokenHeader) {
  if (tokenHeader === "authorization" || BODILESS.has((init.method ?? "GET").toUpperCase())) return init;
  const whole = new Response(init.body);
  const [bytes, type] = [await whole.arrayBuffer(), whole.headers.get("content-type")];
  const headers = new Headers(init.headers);
  if (type && !headers.has("content-type")) headers.set("content-type", type);
  headers.set("x-amz-content-sha256", hexOf(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))));
  return { ...init, headers, body: init.body == null || typeof init.body === "string" ? init.body : bytes };
}
function tokensOf(getToken) {
  let token = null;
  let doubted = null;
  let asking = null;
  function ask(renew) {
    asking ??= (async () => {
      token = await getToken({ renew }) ?? null;
      doubted = renew && leftOf(token) < RENEW_BEFORE_MS ? token : null;
    })().finally(() => {
      asking = null;
    });
    return asking;
  }
  return {
    async current() {
      const left = leftOf(token);
      if (Number.isNaN(left)) await ask(false);
      else if (left < RENEW_BEFORE_MS && token !== doubted) await ask(true);
      return token;
    },
    /** Another one than was refused; null when there is none. */
    async insteadOf(refused) {
      if (token === refused) await ask(true).catch(() => {
      });
      return token === refused ? null : token;
    }
  };
}
function leftOf(token) {
  try {
    const { exp } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return exp * 1e3 - Date.now();
  } catch {
    return NaN;
  }
}

// src/client/guests.js
async function guestToken({ url, captcha, tokenHeader = "authorization", fetch = globalThis.fetch }) {
  const sent = captcha ? { headers: { "content-type": "application/json" }, body: JSON.stringify({ captcha }) } : {};
  return resultOf(await fetch.call(globalThis, url, await signable({ method: "POST", ...sent }, tokenHeader)));
}

// src/client/stops.js
var STOP_AGAIN_MS = [0, 500, 1e3, 2e3, 4e3];
function stopsOf(endpoint, send, document) {
  async function stop(turnId) {
    const body = JSON.stringify({ turn_id: turnId });
    const headers = { "content-type": "application/json" };
    const answer = await send(`${endpoint}/stop`, { method: "POST", headers, body, keepalive: true });
    return (await resultOf(answer)).stopped;
  }
  async function stopSurely(turnId, met) {
    for (const wait of STOP_AGAIN_MS) {
      await pause(wait);
      const stopped = await stop(turnId).catch((error) => isFinal(error) ? true : null);
      if (stopped || stopped === false && met()) return;
    }
  }
  function watch(turnId, { signal, met, onBreak }) {
    const stream = { state: "open" };
    stream.over = () => {
      if (stream.state === "open") stream.state = "over";
    };
    stream.broke = () => {
      if (stream.state === "open") {
        stream.state = "broken";
        onBreak();
      }
    };
    signal?.addEventListener("abort", () => {
      if (stream.state !== "open") return;
      if (document?.visibilityState === "hidden") return stream.broke();
      stream.over();
      stopSurely(turnId, met);
    }, { once: true });
    return stream;
  }
  return { stop, watch };
}

// src/client/uploads.js
var LANDED = 412;
var TEXT_TYPES = { csv: "text/csv", json: "application/json", md: "text/markdown", txt: "text/plain" };
function uploadsOf(call, XMLHttpRequest) {
  return async function upload(file, { onProgress, signal } = {}) {
    const mime_type = TEXT_TYPES[file.name.split(".").pop().toLowerCase()] ?? file.type;
    const announced = await call("attachments.create", { name: file.name, size: file.size, mime_type }, { signal });
    const { upload_descriptor: to, ...attachment } = announced;
    try {
      const tries = triesOf(signal);
      const sent = () => put(file, to, { onProgress, signal, XMLHttpRequest }).then(() => true, tries.failed);
      do
        await tries.next();
      while (!await sent());
    } catch (error) {
      call("attachments.delete", { attachment_id: attachment.id }).catch(() => {
      });
      throw error;
    }
    return attachment;
  };
}
function uploaded(answer, { method, headers } = (
  /** @type {RequestInit} */
  {}
)) {
  const once = method === "PUT" && new Headers(headers).get("if-none-match") === "*";
  return once && answer.status === LANDED ? new Response(null, { status: 200 }) : answer;
}
function put(file, to, { onProgress, signal, XMLHttpRequest }) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    const end = (settle, value) => {
      signal?.removeEventListener("abort", abort);
      settle(value);
    };
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

// src/chat-client.js
var STREAMING = /* @__PURE__ */ new Set([
  "threads.create",
  "threads.add_user_message",
  "threads.add_client_tool_output",
  "threads.add_structured_input",
  "threads.retry_after_item",
  "threads.custom_action"
]);
var ATTACH_FOR_MS = 6e4;
var RESUME_FOR_MS = 16 * 6e4;
function chatClient({
  url,
  getToken = () => null,
  tokenHeader = "authorization",
  fetch = globalThis.fetch,
  document = globalThis.document,
  XMLHttpRequest = globalThis.XMLHttpRequest
}) {
  const base = globalThis.location?.href ?? "http://no-page.invalid";
  const endpoint = new URL(url, base).href;
  const send = senderOf(getToken, tokenHeader, fetch);
  const { stop, watch } = stopsOf(endpoint, send, document);
  const broken = /* @__PURE__ */ new Map();
  const followed = /* @__PURE__ */ new Set();
  async function open(target, init) {
    init.signal?.throwIfAborted();
    const headers = new Headers(init.headers);
    const before = broken.get(init.body);
    const within = headers.has("last-event-id") ? RESUME_FOR_MS : ATTACH_FOR_MS;
    const turn = before && Date.now() - before.at < within ? before.turn : newId();
    broken.delete(init.body);
    headers.set("x-chat-turn", turn);
    let met = false;
    const onBreak = () => {
      for (const [body, { at }] of broken) if (Date.now() - at >= RESUME_FOR_MS) broken.delete(body);
      broken.set(init.body, { turn, at: Date.now() });
    };
    const stream = watch(turn, { signal: init.signal, met: () => met, onBreak });
    try {
      const answer = await send(target, { ...init, headers });
      met = true;
      if (answer.status >= 400 && answer.status < 500) stream.over();
      else if (isFinished(answer)) {
        stream.over();
        return emptyStream(answer);
      } else if (!isStream(answer)) stream.broke();
      if (!answer.ok || !answer.body) return answer;
      const { status, statusText, headers: told } = answer;
      return new Response(passed(answer.body, stream), { status, statusText, headers: told });
    } catch (error) {
      stream.broke();
      throw error;
    }
  }
  async function fetched(resource, init = {}) {
    const target = new URL(resource instanceof Request ? resource.url : resource, base).href;
    if (target !== endpoint && !target.startsWith(`${endpoint}/`)) return uploaded(await fetch.call(globalThis, resource, init), init);
    if (resource instanceof Request) {
      const { method, headers, signal } = resource;
      init = { method, headers, signal, body: await resource.clone().text() || void 0, ...init };
    }
    return STREAMING.has(typeOf(init.body)) ? open(target, init) : send(target, init);
  }
  async function call(type, params = {}, { signal } = {}) {
    const headers = { "content-type": "application/json" };
    return resultOf(await fetched(endpoint, { method: "POST", headers, body: JSON.stringify({ type, params }), signal }));
  }
  async function running(threadId, { signal } = {}) {
    return (await resultOf(await send(`${endpoint}/threads/${encodeURIComponent(threadId)}/turn`, { signal }))).turn_id;
  }
  async function* resume(turnId, { after = 0, signal } = {}) {
    signal?.throwIfAborted();
    const stream = watch(turnId, { signal, met: () => true, onBreak: () => {
    } });
    const tries = triesOf(signal);
    let seen = after;
    try {
      while (true) {
        try {
          await tries.next();
          const headers = { accept: "text/event-stream", "last-event-id": String(seen) };
          const answer = await send(`${endpoint}/turns/${encodeURIComponent(turnId)}/events`, { headers, signal });
          if (isFinished(answer)) return;
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
      stream.over();
    }
  }
  async function follow(threadId) {
    const turn = await running(threadId);
    if (turn === null || followed.has(turn)) return false;
    followed.add(turn);
    for await (const _ of resume(turn)) ;
    return true;
  }
  return { url: endpoint, fetch: fetched, call, stop, upload: uploadsOf(call, XMLHttpRequest), running, resume, follow };
}
function typeOf(body) {
  try {
    return JSON.parse(body)?.type;
  } catch {
    return void 0;
  }
}
export {
  ChatError,
  chatClient,
  guestToken
};
