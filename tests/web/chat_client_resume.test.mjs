// Resuming a turn whose stream was cut or that another page started.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { EVENTS, MESSAGE, URL_, client, passing, settle, stopTheClock, tick, to, visible } from "./chat_client_scene.mjs";

beforeEach(stopTheClock);

const event = (id) => `data: {"type":"e${id}"}\nid: ${id}\n\n`;
const eventsFrom = async (chat, options) => { const types = []; for await (const { type } of chat.resume("turn/1", options)) types.push(type); return types; };

/** A stream of `chunks` that then ends, or is cut if `ends` is false. */
const stream = (chunks, { ends = true } = {}) => new Response(new ReadableStream({
  pull(controller) {
    if (chunks.length) controller.enqueue(new TextEncoder().encode(chunks.shift()));
    else if (ends) controller.close();
    else controller.error(new TypeError("cut"));
  },
}), EVENTS);

test("a turn is resumed across cuts, with each event once and in order", async () => {
  const answers = [
    stream([event(1), ": ka\n", event(2) + event(3).slice(0, 9)], { ends: false }),
    new Response("no", { status: 503 }),
    stream([event(3), event(4)], { ends: false }),
    stream([event(5)]),
  ];
  const { chat, requests } = client(() => answers.shift(), { getToken: () => "secret" });
  const types = eventsFrom(chat);
  for (let n = 0; n < 8; n++) await passing(2_000);
  assert.deepEqual(await types, ["e1", "e2", "e3", "e4", "e5"]);
  assert.deepEqual(requests.map((request) => request.headers.get("last-event-id")), ["0", "2", "2", "4"]);
  assert.equal(requests[0].url, `${URL_}/turns/turn%2F1/events`);
  assert.equal(requests[0].headers.get("authorization"), "Bearer secret");
});

test("resuming is abandoned after three failed attempts", async () => {
  const { chat, requests } = client(() => { throw new TypeError("failed"); });
  const refused = assert.rejects(eventsFrom(chat), { message: "failed" });
  for (let n = 0; n < 5; n++) await passing(2_000);
  await refused;
  assert.equal(requests.length, 3);
});

test("a 204 means that all events were received", async () => {
  const answers = [stream([event(1), event(2)], { ends: false }), new Response(null, { status: 204 })];
  const { chat, requests } = client(() => answers.shift());
  const types = eventsFrom(chat);
  for (let n = 0; n < 3; n++) await passing(2_000);
  assert.deepEqual(await types, ["e1", "e2"]);
  assert.deepEqual(requests.map((request) => request.headers.get("last-event-id")), ["0", "2"]);
});

test("a retry after all events were received gets an empty stream", async () => {
  const { chat, requests } = client((_path, _init, n) => n === 1 ? stream([event(1)], { ends: false })
    : new Response(null, { status: 204, headers: { "x-chat-turn": "turn_1" } }));
  await assert.rejects((await chat.fetch(URL_, { method: "POST", body: MESSAGE })).text());
  const again = await chat.fetch(URL_, { method: "POST", body: MESSAGE, headers: { "last-event-id": "1" } });
  assert.deepEqual([again.status, await again.text()], [200, ""]);
  assert.deepEqual([again.headers.get("content-type"), again.headers.get("x-chat-turn")], ["text/event-stream", "turn_1"]);
  await chat.fetch(URL_, { method: "POST", body: MESSAGE });
  const turns = requests.map((request) => request.headers.get("x-chat-turn"));
  assert.equal(turns[0], turns[1]);
  assert.notEqual(turns[1], turns[2], "the turn is over, so the same message must be a new turn");
});

test("a request with a last event ID keeps its turn ID for as long as the server remembers the turn", async () => {
  for (const [minutes, headers, same] of [[15, { "last-event-id": "1" }, true], [17, { "last-event-id": "1" }, false], [2, {}, false]]) {
    const { chat, requests } = client(() => stream([event(1)], { ends: false }));
    await assert.rejects((await chat.fetch(URL_, { method: "POST", body: MESSAGE })).text());
    tick(minutes * 60_000);
    await chat.fetch(URL_, { method: "POST", body: MESSAGE, headers });
    const [first, second] = requests.map((request) => request.headers.get("x-chat-turn"));
    assert.equal(first === second, same, `${minutes} minutes`);
  }
});

test("an unknown turn is reported at once", async () => {
  const { chat, requests } = client(() => Response.json({ error: "not_found", message: "No." }, { status: 404 }));
  await assert.rejects(eventsFrom(chat), { status: 404 });
  assert.equal(requests.length, 1);
});

test("aborting a resumed turn stops it; leaving the loop or hiding the page does not", async () => {
  for (const how of ["abort", "leave", "hide"]) {
    const document = visible();
    const { chat, requests } = client((path, init) => path === "/chatkit/stop" ? Response.json({ stopped: true })
      : new Response(new ReadableStream({ start(controller) {
        controller.enqueue(new TextEncoder().encode(event(1)));
        init.signal.addEventListener("abort", () => { try { controller.error(init.signal.reason); } catch { /* already closed */ } });
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
    assert.equal(to(requests, "/chatkit/stop").length, how === "abort" ? 1 : 0, how);
  }
});

test("the running turn of a thread is followed to its end once", async () => {
  const { chat, requests } = client((path) => path.endsWith("/turn") ? Response.json({ turn_id: "turn-1" }) : stream([event(1), event(2)]));
  assert.deepEqual([await chat.follow("thr_1"), await chat.follow("thr_1")], [true, false]);
  assert.deepEqual(requests.map(({ path }) => path.split("/").pop()), ["turn", "events", "turn"]);
});

test("a thread without a running turn is not followed", async () => {
  const { chat } = client(() => Response.json({ turn_id: null }));
  assert.equal(await chat.follow("thr_1"), false);
});

test("the running turn of a thread can be requested", async () => {
  const { chat, requests } = client(() => Response.json({ turn_id: "turn-1" }));
  assert.equal(await chat.running("thr_1"), "turn-1");
  assert.equal(requests[0].url, `${URL_}/threads/thr_1/turn`);
});
