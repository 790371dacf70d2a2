// chat-client.js: tokens, turn IDs, retries, and when the server is told to stop. Run by tests/web/test_chat_client.py.
import assert from "node:assert/strict";
import { test } from "node:test";
import { chatClient } from "../../web/src/chat-client.js";

const URL_ = "https://chat.test/chatkit";
const MESSAGE = JSON.stringify({ type: "threads.create", params: {} });
const LIST = JSON.stringify({ type: "threads.list", params: {} });

/** A server that streams what the test enqueues, and a page that is visible or not. */
function scene({ token = "t1", status = 200 } = {}) {
  const requests = [];
  const streams = [];
  const document = { visibilityState: "visible" };
  const fetch = async (url, init = {}) => {
    requests.push({ url: String(url), headers: new Headers(init.headers), body: init.body });
    if (String(url).endsWith("/stop")) return Response.json({ stopped: true });
    const body = new ReadableStream({ start: (controller) => {
      streams.push(controller);
      init.signal?.addEventListener("abort", () => { try { controller.error(init.signal.reason); } catch { /* closed */ } });
    } });
    return new Response(body, { status, headers: { "content-type": "text/event-stream; charset=utf-8" } });
  };
  return { requests, streams, document, chat: chatClient({ url: URL_, getToken: async () => token, fetch, document }).fetch };
}

const post = (chat, body, signal) => chat(URL_, { method: "POST", body, signal });
const turnOf = (request) => request.headers.get("x-chat-turn");
const stops = (requests) => requests.filter((request) => request.url.endsWith("/stop")).map((request) => JSON.parse(request.body));
const settle = async () => { for (let n = 0; n < 20; n++) await new Promise(setImmediate); };

test("only requests to the endpoint have the token", async () => {
  const { chat, requests } = scene();
  await post(chat, LIST);
  await chat("https://bucket.test/upload", { method: "PUT", body: "x" });
  assert.equal(requests[0].headers.get("authorization"), "Bearer t1");
  assert.equal(requests[1].headers.get("authorization"), null);
});

test("a URL that merely starts like the endpoint does not get the token", async () => {
  const { chat, requests } = scene();
  await chat("https://chat.test/chatkit.evil/x");
  assert.equal(requests[0].headers.get("authorization"), null);
});

test("only streaming requests have a turn ID", async () => {
  const { chat, requests } = scene();
  await post(chat, LIST);
  await post(chat, MESSAGE);
  assert.equal(turnOf(requests[0]), null);
  assert.match(turnOf(requests[1]), /^[A-Za-z0-9_-]{16,64}$/);
});

test("Stop is sent when the signal aborts in mid-stream", async () => {
  const { chat, requests } = scene();
  const stop = new AbortController();
  await post(chat, MESSAGE, stop.signal);
  stop.abort();
  await settle();
  assert.deepEqual(stops(requests), [{ turn_id: turnOf(requests[0]) }]);
});

test("Stop is not sent when the signal aborts after a normal end", async () => {
  const { chat, requests, streams } = scene();
  const stop = new AbortController();
  const answer = await post(chat, MESSAGE, stop.signal);
  streams[0].close();
  await answer.text();
  stop.abort();
  await settle();
  assert.deepEqual(stops(requests), []);
});

test("a hidden tab does not send Stop, and its retry attaches to the same turn", async () => {
  const { chat, requests, document } = scene();
  const hide = new AbortController();
  await post(chat, MESSAGE, hide.signal);
  document.visibilityState = "hidden";
  hide.abort();
  await settle();
  document.visibilityState = "visible";
  await post(chat, MESSAGE);
  assert.deepEqual(stops(requests), []);
  assert.equal(turnOf(requests[0]), turnOf(requests[1]));
});

test("the same message after a normal end, or after Stop, is a new turn", async () => {
  const { chat, requests, streams } = scene();
  const answer = await post(chat, MESSAGE);
  streams[0].close();
  await answer.text();
  const stop = new AbortController();
  await post(chat, MESSAGE, stop.signal);
  stop.abort();
  await settle();
  await post(chat, MESSAGE);
  const turns = requests.filter((request) => !request.url.endsWith("/stop")).map(turnOf);
  assert.equal(new Set(turns).size, 3);
});

test("after a refusal a retry is a new turn, after a server failure it is the same turn", async () => {
  const refused = scene({ status: 409 });
  await post(refused.chat, MESSAGE);
  await post(refused.chat, MESSAGE);
  assert.notEqual(turnOf(refused.requests[0]), turnOf(refused.requests[1]));
  const failed = scene({ status: 503 });
  await post(failed.chat, MESSAGE);
  await post(failed.chat, MESSAGE);
  assert.equal(turnOf(failed.requests[0]), turnOf(failed.requests[1]));
});

test("the stream is passed through unchanged", async () => {
  const { chat, streams } = scene();
  const answer = await post(chat, MESSAGE);
  streams[0].enqueue(new TextEncoder().encode("data: {}\n\n"));
  streams[0].close();
  assert.equal(await answer.text(), "data: {}\n\n");
});

// Tokens

/** A token that expires in `seconds`. Its signature is not verified here. */
const jwt = (seconds, name = "t") => {
  const claims = { sub: name, exp: Math.floor(Date.now() / 1000) + seconds };
  return `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.x`;
};

/** A server that accepts only `good` tokens, and a page whose getToken returns `tokens` in order. */
function tokenServer({ tokens, good }) {
  const tokenCalls = [];
  const requests = [];
  const fetch = async (_url, init) => {
    const token = new Headers(init.headers).get("authorization")?.slice(7) ?? null;
    requests.push({ token, turn: new Headers(init.headers).get("x-chat-turn"), body: init.body });
    return new Response("{}", { status: good.includes(token) ? 200 : 401 });
  };
  const getToken = async (how) => { tokenCalls.push(how.renew); return tokens[Math.min(tokenCalls.length, tokens.length) - 1]; };
  return { tokenCalls, requests, chat: chatClient({ url: URL_, getToken, fetch, document: { visibilityState: "visible" } }).fetch };
}

test("a token that is valid for a while is fetched once", async () => {
  const token = jwt(600);
  const { tokenCalls, chat } = tokenServer({ tokens: [token], good: [token] });
  for (let n = 0; n < 3; n++) await post(chat, LIST);
  assert.deepEqual(tokenCalls, [false]);
});

test("a token is renewed before it expires", async () => {
  const [old, next] = [jwt(30, "old"), jwt(600, "next")];
  const { tokenCalls, requests, chat } = tokenServer({ tokens: [old, next], good: [old, next] });
  await post(chat, LIST);
  await post(chat, LIST);
  assert.deepEqual(tokenCalls, [false, true]);
  assert.deepEqual(requests.map((request) => request.token), [old, next]);
});

test("after a 401 the request is retried once, with a new token and the same turn ID", async () => {
  const [refused, good] = [jwt(600, "refused"), jwt(600, "good")];
  const { tokenCalls, requests, chat } = tokenServer({ tokens: [refused, good], good: [good] });
  assert.equal((await post(chat, MESSAGE)).status, 200);
  assert.deepEqual(tokenCalls, [false, true]);
  assert.equal(requests.length, 2);
  assert.equal(requests[0].turn, requests[1].turn);
  assert.equal(requests[1].body, MESSAGE);
});

test("a second 401 is final, and without another token the first one is", async () => {
  const wrong = tokenServer({ tokens: [jwt(600, "a"), jwt(600, "b")], good: [] });
  assert.equal((await post(wrong.chat, LIST)).status, 401);
  assert.equal(wrong.requests.length, 2);
  const same = jwt(600);
  const only = tokenServer({ tokens: [same], good: [] });
  assert.equal((await post(only.chat, LIST)).status, 401);
  assert.equal(only.requests.length, 1);
});

test("concurrent requests share one token request", async () => {
  const token = jwt(600);
  const { tokenCalls, chat } = tokenServer({ tokens: [token], good: [token] });
  await Promise.all([post(chat, LIST), post(chat, LIST), post(chat, LIST)]);
  assert.deepEqual(tokenCalls, [false]);
});
