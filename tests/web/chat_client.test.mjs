// The helper a page uses: when it tells the server to stop, and when it must not. Run by tests/web/test_chat_client.py.
import assert from "node:assert/strict";
import { test } from "node:test";
import { chatClient } from "../../web/src/chat-client.js";

const URL_ = "https://chat.test/chatkit";
const MESSAGE = JSON.stringify({ type: "threads.create", params: {} });
const LIST = JSON.stringify({ type: "threads.list", params: {} });

/** A server that streams what the test enqueues, and a page that is visible or not. */
function scene({ token = "t1", status = 200 } = {}) {
  const seen = [];
  const streams = [];
  const document = { visibilityState: "visible" };
  const fetch = async (url, init = {}) => {
    seen.push({ url: String(url), headers: new Headers(init.headers), body: init.body });
    if (String(url).endsWith("/stop")) return Response.json({ stopped: true });
    const body = new ReadableStream({ start: (controller) => {
      streams.push(controller);
      init.signal?.addEventListener("abort", () => { try { controller.error(init.signal.reason); } catch { /* closed */ } });
    } });
    return new Response(body, { status, headers: { "content-type": "text/event-stream; charset=utf-8" } });
  };
  return { seen, streams, document, chat: chatClient({ url: URL_, getToken: async () => token, fetch, document }).fetch };
}

const post = (chat, body, signal) => chat(URL_, { method: "POST", body, signal });
const turnOf = (request) => request.headers.get("x-chat-turn");
const stops = (seen) => seen.filter((request) => request.url.endsWith("/stop")).map((request) => JSON.parse(request.body));
const settle = async () => { for (let n = 0; n < 20; n++) await new Promise(setImmediate); };

test("requests to the endpoint carry the token, others nothing", async () => {
  const { chat, seen } = scene();
  await post(chat, LIST);
  await chat("https://bucket.test/upload", { method: "PUT", body: "x" });
  assert.equal(seen[0].headers.get("authorization"), "Bearer t1");
  assert.equal(seen[1].headers.get("authorization"), null);
});

test("a URL that only begins like the endpoint is a stranger's", async () => {
  const { chat, seen } = scene();
  await chat("https://chat.test/chatkit.evil/x");
  assert.equal(seen[0].headers.get("authorization"), null);
});

test("only what streams names a turn", async () => {
  const { chat, seen } = scene();
  await post(chat, LIST);
  await post(chat, MESSAGE);
  assert.equal(turnOf(seen[0]), null);
  assert.match(turnOf(seen[1]), /^[A-Za-z0-9_-]{16,64}$/);
});

test("Stop is sent when the signal aborts in mid-stream", async () => {
  const { chat, seen } = scene();
  const stop = new AbortController();
  await post(chat, MESSAGE, stop.signal);
  stop.abort();
  await settle();
  assert.deepEqual(stops(seen), [{ turn_id: turnOf(seen[0]) }]);
});

test("nothing is sent when the signal aborts after a normal end", async () => {
  const { chat, seen, streams } = scene();
  const stop = new AbortController();
  const answer = await post(chat, MESSAGE, stop.signal);
  streams[0].close();
  await answer.text();
  stop.abort();
  await settle();
  assert.deepEqual(stops(seen), []);
});

test("a hidden tab stops nothing, and what it sends again attaches to its turn", async () => {
  const { chat, seen, document } = scene();
  const hide = new AbortController();
  await post(chat, MESSAGE, hide.signal);
  document.visibilityState = "hidden";
  hide.abort();
  await settle();
  document.visibilityState = "visible";
  await post(chat, MESSAGE);
  assert.deepEqual(stops(seen), []);
  assert.equal(turnOf(seen[0]), turnOf(seen[1]));
});

test("the same words after a normal end, or after Stop, are a turn of their own", async () => {
  const { chat, seen, streams } = scene();
  const answer = await post(chat, MESSAGE);
  streams[0].close();
  await answer.text();
  const stop = new AbortController();
  await post(chat, MESSAGE, stop.signal);
  stop.abort();
  await settle();
  await post(chat, MESSAGE);
  const turns = seen.filter((request) => !request.url.endsWith("/stop")).map(turnOf);
  assert.equal(new Set(turns).size, 3);
});

test("a refusal is final, a failure of the server is not", async () => {
  const refused = scene({ status: 409 });
  await post(refused.chat, MESSAGE);
  await post(refused.chat, MESSAGE);
  assert.notEqual(turnOf(refused.seen[0]), turnOf(refused.seen[1]));
  const failed = scene({ status: 503 });
  await post(failed.chat, MESSAGE);
  await post(failed.chat, MESSAGE);
  assert.equal(turnOf(failed.seen[0]), turnOf(failed.seen[1]));
});

test("what streams passes through unchanged", async () => {
  const { chat, streams } = scene();
  const answer = await post(chat, MESSAGE);
  streams[0].enqueue(new TextEncoder().encode("data: {}\n\n"));
  streams[0].close();
  assert.equal(await answer.text(), "data: {}\n\n");
});

// Tokens

/** A token that ends in `seconds`, as an issuer would sign it (nobody looks at its signature here). */
const jwt = (seconds, name = "t") => {
  const claims = { sub: name, exp: Math.floor(Date.now() / 1000) + seconds };
  return `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.x`;
};

/** A server that takes only `good` tokens, and a page that has `tokens` to give. */
function lock({ tokens, good }) {
  const asked = [];
  const seen = [];
  const fetch = async (_url, init) => {
    const token = new Headers(init.headers).get("authorization")?.slice(7) ?? null;
    seen.push({ token, turn: new Headers(init.headers).get("x-chat-turn"), body: init.body });
    return new Response("{}", { status: good.includes(token) ? 200 : 401 });
  };
  const getToken = async (how) => { asked.push(how.renew); return tokens[Math.min(asked.length, tokens.length) - 1]; };
  return { asked, seen, chat: chatClient({ url: URL_, getToken, fetch, document: { visibilityState: "visible" } }).fetch };
}

test("a token that is good for a while is asked for once", async () => {
  const token = jwt(600);
  const { asked, chat } = lock({ tokens: [token], good: [token] });
  for (let n = 0; n < 3; n++) await post(chat, LIST);
  assert.deepEqual(asked, [false]);
});

test("a token is renewed before it ends", async () => {
  const [old, next] = [jwt(30, "old"), jwt(600, "next")];
  const { asked, seen, chat } = lock({ tokens: [old, next], good: [old, next] });
  await post(chat, LIST);
  await post(chat, LIST);
  assert.deepEqual(asked, [false, true]);
  assert.deepEqual(seen.map((request) => request.token), [old, next]);
});

test("after a 401 the request is repeated once, with a new token and the same turn", async () => {
  const [refused, good] = [jwt(600, "refused"), jwt(600, "good")];
  const { asked, seen, chat } = lock({ tokens: [refused, good], good: [good] });
  assert.equal((await post(chat, MESSAGE)).status, 200);
  assert.deepEqual(asked, [false, true]);
  assert.equal(seen.length, 2);
  assert.equal(seen[0].turn, seen[1].turn);
  assert.equal(seen[1].body, MESSAGE);
});

test("a second 401 is final, and one without another token is not repeated", async () => {
  const wrong = lock({ tokens: [jwt(600, "a"), jwt(600, "b")], good: [] });
  assert.equal((await post(wrong.chat, LIST)).status, 401);
  assert.equal(wrong.seen.length, 2);
  const same = jwt(600);
  const only = lock({ tokens: [same], good: [] });
  assert.equal((await post(only.chat, LIST)).status, 401);
  assert.equal(only.seen.length, 1);
});

test("requests at the same time share one renewal", async () => {
  const token = jwt(600);
  const { asked, chat } = lock({ tokens: [token], good: [token] });
  await Promise.all([post(chat, LIST), post(chat, LIST), post(chat, LIST)]);
  assert.deepEqual(asked, [false]);
});
