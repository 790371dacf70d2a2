// What goes wrong around a request: a Stop that comes too early or meets no server, a proxy, a stream that broke off.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { chatClient } from "../../web/src/chat-client.js";
import { EVENTS, MESSAGE, URL_, client, passing, settle, stopTheClock, tick, to } from "./chat_client_scene.mjs";

beforeEach(stopTheClock);

test("a Stop that overtakes its request is told again, until the server knows the turn", async () => {
  let arrive;
  const { chat, seen } = client((path, _init, n) => path === "/chatkit/stop"
    ? Response.json({ stopped: n >= 3 })
    : new Promise((answer) => { arrive = answer; }));
  const stop = new AbortController();
  chat.fetch(URL_, { method: "POST", body: MESSAGE, signal: stop.signal });
  await settle();
  stop.abort();
  for (let n = 0; n < 10; n++) await passing(4_000);
  assert.equal(to(seen, "/chatkit/stop").length, 3);
  arrive(new Response("", EVENTS));
});

test("a Stop that arrives when the turn is over is told once", async () => {
  const { chat, seen } = client((path) => path === "/chatkit/stop"
    ? Response.json({ stopped: false })
    : new Response(new ReadableStream({}), EVENTS));
  const stop = new AbortController();
  await chat.fetch(URL_, { method: "POST", body: MESSAGE, signal: stop.signal });
  stop.abort();
  for (let n = 0; n < 10; n++) await passing(4_000);
  assert.equal(to(seen, "/chatkit/stop").length, 1);
  assert.equal(to(seen, "/chatkit/stop")[0].keepalive, true, "it outlives the page");
});

for (const [name, failing] of [["broken network", () => { throw new TypeError("failed"); }], ["server", () => new Response("no", { status: 502 })]]) {
  test(`Stop is told again after a ${name}, five times at most`, async () => {
    const { chat, seen } = client((path) => path === "/chatkit/stop" ? failing() : new Response(new ReadableStream({}), EVENTS));
    const stop = new AbortController();
    await chat.fetch(URL_, { method: "POST", body: MESSAGE, signal: stop.signal });
    stop.abort();
    for (let n = 0; n < 10; n++) await passing(4_000);
    assert.equal(to(seen, "/chatkit/stop").length, 5);
  });
}

test("a signal that aborted before the request sends nothing and stops nothing", async () => {
  const { chat, seen } = client(() => Response.json({}));
  await assert.rejects(chat.fetch(URL_, { method: "POST", body: MESSAGE, signal: AbortSignal.abort() }), { name: "AbortError" });
  assert.equal(seen.length, 0);
});

test("a 200 that is no event stream, as a proxy's page, is not the turn's end", async () => {
  const { chat, seen } = client(() => new Response("<html>", { headers: { "content-type": "text/html" } }));
  for (let n = 0; n < 2; n++) await chat.fetch(URL_, { method: "POST", body: MESSAGE });
  assert.equal(seen[0].headers.get("x-chat-turn"), seen[1].headers.get("x-chat-turn"));
});

test("the same words a minute after their stream broke off are a turn of their own", async () => {
  const { chat, seen } = client(() => { throw new TypeError("failed"); });
  await assert.rejects(chat.fetch(URL_, { method: "POST", body: MESSAGE }));
  tick(60_000);
  await assert.rejects(chat.fetch(URL_, { method: "POST", body: MESSAGE }));
  assert.notEqual(seen[0].headers.get("x-chat-turn"), seen[1].headers.get("x-chat-turn"));
});

test("a Request is read as its parts are", async () => {
  const { chat, seen } = client(() => new Response("", EVENTS));
  await chat.fetch(new Request(URL_, { method: "POST", body: MESSAGE, headers: { accept: "text/event-stream" } }));
  assert.equal(seen[0].body, MESSAGE);
  assert.equal(seen[0].headers.get("accept"), "text/event-stream");
  assert.match(seen[0].headers.get("x-chat-turn"), /^[0-9a-f]{32}$/);
});

test("where a server renders the page, a relative URL is no fault", () => {
  assert.equal(new URL(chatClient({ url: "/chatkit" }).url).pathname, "/chatkit");
});
