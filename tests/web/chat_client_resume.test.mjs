// The way back into a turn whose stream was cut, or that another page began.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { EVENTS, URL_, client, passing, settle, stopTheClock, to, visible } from "./chat_client_scene.mjs";

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
