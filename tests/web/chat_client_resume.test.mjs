// The way back into a turn whose stream was cut, or that another page began.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { EVENTS, MESSAGE, URL_, client, passing, settle, stopTheClock, tick, to, visible } from "./chat_client_scene.mjs";

beforeEach(stopTheClock);

const event = (id) => `data: {"type":"e${id}"}\nid: ${id}\n\n`;
const eventsFrom = async (chat, options) => { const got = []; for await (const { type } of chat.resume("turn/1", options)) got.push(type); return got; };

/** A stream of `chunks`, cut behind them unless it `ends`. */
const stream = (chunks, { ends = true } = {}) => new Response(new ReadableStream({
  pull(controller) {
    if (chunks.length) controller.enqueue(new TextEncoder().encode(chunks.shift()));
    else if (ends) controller.close();
    else controller.error(new TypeError("cut"));
  },
}), EVENTS);

test("a turn is followed across cuts, each event once, in order", async () => {
  const answers = [
    stream([event(1), ": ka\n", event(2) + event(3).slice(0, 9)], { ends: false }),
    new Response("no", { status: 503 }),
    stream([event(3), event(4)], { ends: false }),
    stream([event(5)]),
  ];
  const { chat, seen } = client(() => answers.shift(), { getToken: () => "secret" });
  const got = eventsFrom(chat);
  for (let n = 0; n < 8; n++) await passing(2_000);
  assert.deepEqual(await got, ["e1", "e2", "e3", "e4", "e5"]);
  assert.deepEqual(seen.map((request) => request.headers.get("last-event-id")), ["0", "2", "2", "4"]);
  assert.equal(seen[0].url, `${URL_}/turns/turn%2F1/events`);
  assert.equal(seen[0].headers.get("authorization"), "Bearer secret");
});

test("a turn whose server stays away is given up after three tries", async () => {
  const { chat, seen } = client(() => { throw new TypeError("failed"); });
  const refused = assert.rejects(eventsFrom(chat), { message: "failed" });
  for (let n = 0; n < 5; n++) await passing(2_000);
  await refused;
  assert.equal(seen.length, 3);
});

test("a turn whose events were all seen is finished: a 204 has no body to read", async () => {
  const answers = [stream([event(1), event(2)], { ends: false }), new Response(null, { status: 204 })];
  const { chat, seen } = client(() => answers.shift());
  const got = eventsFrom(chat);
  for (let n = 0; n < 3; n++) await passing(2_000);
  assert.deepEqual(await got, ["e1", "e2"]);
  assert.deepEqual(seen.map((request) => request.headers.get("last-event-id")), ["0", "2"]);
});

test("a transport that asks again for a turn whose events were all seen gets a stream that ends", async () => {
  const { chat, seen } = client((_path, _init, n) => n === 1 ? stream([event(1)], { ends: false })
    : new Response(null, { status: 204, headers: { "x-chat-turn": "turn_1" } }));
  await assert.rejects((await chat.fetch(URL_, { method: "POST", body: MESSAGE })).text());
  const again = await chat.fetch(URL_, { method: "POST", body: MESSAGE, headers: { "last-event-id": "1" } });
  assert.deepEqual([again.status, await again.text()], [200, ""]);
  assert.deepEqual([again.headers.get("content-type"), again.headers.get("x-chat-turn")], ["text/event-stream", "turn_1"]);
  await chat.fetch(URL_, { method: "POST", body: MESSAGE });
  const turns = seen.map((request) => request.headers.get("x-chat-turn"));
  assert.equal(turns[0], turns[1]);
  assert.notEqual(turns[1], turns[2], "the turn is over: the same words again are a new one");
});

test("a request that has seen events names its turn for as long as the server knows it", async () => {
  for (const [minutes, headers, same] of [[15, { "last-event-id": "1" }, true], [17, { "last-event-id": "1" }, false], [2, {}, false]]) {
    const { chat, seen } = client(() => stream([event(1)], { ends: false }));
    await assert.rejects((await chat.fetch(URL_, { method: "POST", body: MESSAGE })).text());
    tick(minutes * 60_000);
    await chat.fetch(URL_, { method: "POST", body: MESSAGE, headers });
    const [first, second] = seen.map((request) => request.headers.get("x-chat-turn"));
    assert.equal(first === second, same, `${minutes} minutes`);
  }
});

test("a turn that is unknown is told at once", async () => {
  const { chat, seen } = client(() => Response.json({ error: "not_found", message: "No." }, { status: 404 }));
  await assert.rejects(eventsFrom(chat), { status: 404 });
  assert.equal(seen.length, 1);
});

test("aborting a followed turn stops it; leaving it, or hiding the page, does not", async () => {
  for (const how of ["abort", "leave", "hide"]) {
    const document = visible();
    const { chat, seen } = client((path, init) => path === "/chatkit/stop" ? Response.json({ stopped: true })
      : new Response(new ReadableStream({ start(controller) {
        controller.enqueue(new TextEncoder().encode(event(1)));
        init.signal.addEventListener("abort", () => { try { controller.error(init.signal.reason); } catch { /* left */ } });
      } }), EVENTS), { document });
    const stop = new AbortController();
    try {
      for await (const _ of chat.resume("turn", { signal: stop.signal })) {
        if (how === "leave") break;
        if (how === "hide") document.visibilityState = "hidden";
        stop.abort();
      }
    } catch (error) {
      assert.equal(error.name, "AbortError");
    }
    stop.abort();
    await settle();
    assert.equal(to(seen, "/chatkit/stop").length, how === "abort" ? 1 : 0, how);
  }
});

test("the turn of a thread is followed to its end, once", async () => {
  const { chat, seen } = client((path) => path.endsWith("/turn") ? Response.json({ turn_id: "turn-1" }) : stream([event(1), event(2)]));
  assert.deepEqual([await chat.follow("thr_1"), await chat.follow("thr_1")], [true, false]);
  assert.deepEqual(seen.map(({ path }) => path.split("/").pop()), ["turn", "events", "turn"]);
});

test("a thread in which nothing runs is not followed", async () => {
  const { chat } = client(() => Response.json({ turn_id: null }));
  assert.equal(await chat.follow("thr_1"), false);
});

test("a thread is asked for the turn that runs in it", async () => {
  const { chat, seen } = client(() => Response.json({ turn_id: "turn-1" }));
  assert.equal(await chat.running("thr_1"), "turn-1");
  assert.equal(seen[0].url, `${URL_}/threads/thr_1/turn`);
});
