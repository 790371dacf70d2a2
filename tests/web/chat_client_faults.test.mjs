// Faults around a chat request: a Stop that is early or fails, a proxy's page, a stream that breaks off.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { chatClient } from "../../web/src/chat-client.js";
import { EVENTS, MESSAGE, URL_, client, passing, settle, stopTheClock, tick, to } from "./chat_client_scene.mjs";

beforeEach(stopTheClock);

test("a Stop that overtakes its request is repeated until the server knows the turn", async () => {
  let arrive;
  const { chat, requests } = client((path, _init, n) => path === "/chatkit/stop"
    ? Response.json({ stopped: n >= 3 })
    : new Promise((answer) => { arrive = answer; }));
  const stop = new AbortController();
  chat.fetch(URL_, { method: "POST", body: MESSAGE, signal: stop.signal });
  await settle();
  stop.abort();
  for (let n = 0; n < 10; n++) await passing(4_000);
  assert.equal(to(requests, "/chatkit/stop").length, 3);
  arrive(new Response("", EVENTS));
});

test("a Stop that arrives after the end of the turn is sent once", async () => {
  const { chat, requests } = client((path) => path === "/chatkit/stop"
    ? Response.json({ stopped: false })
    : new Response(new ReadableStream({}), EVENTS));
  const stop = new AbortController();
  await chat.fetch(URL_, { method: "POST", body: MESSAGE, signal: stop.signal });
  stop.abort();
  for (let n = 0; n < 10; n++) await passing(4_000);
  assert.equal(to(requests, "/chatkit/stop").length, 1);
  assert.equal(to(requests, "/chatkit/stop")[0].keepalive, true, "it must outlive the page");
});

for (const [name, failing] of [["broken network", () => { throw new TypeError("failed"); }], ["server", () => new Response("no", { status: 502 })]]) {
  test(`Stop is sent at most five times after a failure: ${name}`, async () => {
    const { chat, requests } = client((path) => path === "/chatkit/stop" ? failing() : new Response(new ReadableStream({}), EVENTS));
    const stop = new AbortController();
    await chat.fetch(URL_, { method: "POST", body: MESSAGE, signal: stop.signal });
    stop.abort();
    for (let n = 0; n < 10; n++) await passing(4_000);
    assert.equal(to(requests, "/chatkit/stop").length, 5);
  });
}

test("a signal that aborted before the request sends neither the request nor Stop", async () => {
  const { chat, requests } = client(() => Response.json({}));
  await assert.rejects(chat.fetch(URL_, { method: "POST", body: MESSAGE, signal: AbortSignal.abort() }), { name: "AbortError" });
  assert.equal(requests.length, 0);
});

test("a 200 that is not an event stream, such as a proxy's page, does not end the turn", async () => {
  const { chat, requests } = client(() => new Response("<html>", { headers: { "content-type": "text/html" } }));
  for (let n = 0; n < 2; n++) await chat.fetch(URL_, { method: "POST", body: MESSAGE });
  assert.equal(requests[0].headers.get("x-chat-turn"), requests[1].headers.get("x-chat-turn"));
});

test("the same message a minute after its stream broke off is a new turn", async () => {
  const { chat, requests } = client(() => { throw new TypeError("failed"); });
  await assert.rejects(chat.fetch(URL_, { method: "POST", body: MESSAGE }));
  tick(60_000);
  await assert.rejects(chat.fetch(URL_, { method: "POST", body: MESSAGE }));
  assert.notEqual(requests[0].headers.get("x-chat-turn"), requests[1].headers.get("x-chat-turn"));
});

test("a Request object is treated like a URL with options", async () => {
  const { chat, requests } = client(() => new Response("", EVENTS));
  await chat.fetch(new Request(URL_, { method: "POST", body: MESSAGE, headers: { accept: "text/event-stream" } }));
  assert.equal(requests[0].body, MESSAGE);
  assert.equal(requests[0].headers.get("accept"), "text/event-stream");
  assert.match(requests[0].headers.get("x-chat-turn"), /^[0-9a-f]{32}$/);
});

test("with server-side rendering a relative URL is accepted", () => {
  assert.equal(new URL(chatClient({ url: "/chatkit" }).url).pathname, "/chatkit");
});
