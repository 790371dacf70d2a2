// What goes wrong around the helper: Stop that comes too early, uploads and turns that break off, S3, wrong clocks.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { beforeEach, test } from "node:test";
import { ChatError, chatClient } from "../../web/src/chat-client.js";

const URL_ = "https://chat.test/chatkit";
const MESSAGE = JSON.stringify({ type: "threads.create", params: {} });
const EVENTS = { headers: { "content-type": "text/event-stream" } };
const settle = async () => { for (let n = 0; n < 30; n++) await new Promise(setImmediate); };
const visible = () => ({ visibilityState: "visible" });

/** Let waits pass: nobody sleeps here. */
let timers;
beforeEach((t) => {
  timers = t.mock.timers;
  timers.enable({ apis: ["setTimeout", "Date"], now: 1_700_000_000_000 });
});
const passing = async (ms) => { await settle(); timers.tick(ms); await settle(); };

/** A client of a server that answers with what `route(path, init, n)` says; `seen` is what it was sent. */
function client(route, { document = visible(), ...options } = {}) {
  const seen = [];
  const fetch = async (url, init = {}) => {
    init.signal?.throwIfAborted();
    const path = new URL(url).pathname;
    seen.push({ path, url: String(url), headers: new Headers(init.headers), body: init.body, keepalive: init.keepalive });
    return route(path, init, seen.filter((request) => request.path === path).length);
  };
  return { seen, chat: chatClient({ url: URL_, fetch, document, ...options }) };
}
const to = (seen, path) => seen.filter((request) => request.path === path);

// Stop

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
  timers.tick(60_000);
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

// Tokens

const jwt = (seconds, name = "t") =>
  `e30.${Buffer.from(JSON.stringify({ sub: name, exp: Math.floor(Date.now() / 1000) + seconds })).toString("base64url")}.x`;

test("where the clock is an hour ahead, a token is renewed once and then the server's word counts", async () => {
  const asked = [];
  const tokens = [jwt(-3600, "first"), jwt(-3600, "second")];
  const { chat } = client(() => Response.json({}), { getToken: ({ renew }) => { asked.push(renew); return tokens[Math.min(asked.length, 2) - 1]; } });
  for (let n = 0; n < 5; n++) await chat.call("threads.list");
  assert.deepEqual(asked, [false, true]);
});

test("whoever had no token is asked for one after a 401", async () => {
  const { chat, seen } = client((_path, init) => new Headers(init.headers).has("authorization") ? Response.json({}) : Response.json({}, { status: 401 }),
    { getToken: ({ renew }) => renew ? "token" : null });
  await chat.call("threads.list");
  assert.equal(seen[1].headers.get("authorization"), "Bearer token");
});

test("a token that does not say when it ends is asked for each time, and not renewed", async () => {
  const asked = [];
  const { chat } = client(() => Response.json({}), { getToken: ({ renew }) => { asked.push(renew); return "opaque"; } });
  for (let n = 0; n < 3; n++) await chat.call("threads.list");
  assert.deepEqual(asked, [false, false, false]);
});

test("where CloudFront signs, the token travels in a header of its own, and the body with its hash", async () => {
  const { chat, seen } = client(() => Response.json({}), { getToken: () => "secret", tokenHeader: "x-chat-authorization" });
  await chat.call("threads.list");
  const headers = Object.fromEntries(seen[0].headers);
  assert.equal(headers.authorization, undefined);
  assert.equal(headers["x-chat-authorization"], "Bearer secret");
  assert.equal(headers["x-amz-content-sha256"], createHash("sha256").update(seen[0].body).digest("hex"));
});

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

for (const [what, body] of [
  ["nothing", undefined], ["an empty text", ""], ["a text", "Grüße"], ["bytes", new Uint8Array([0, 255, 128])],
  ["a file", new Blob([new Uint8Array([0, 255])], { type: "image/png" })], ["parameters", new URLSearchParams({ a: "ä" })],
]) {
  test(`where CloudFront signs, ${what} as a body has the hash of its bytes`, async () => {
    const { chat, seen } = client(() => Response.json({}), { getToken: () => "secret", tokenHeader: "x-chat-authorization" });
    await chat.fetch(chat.url, { method: "POST", body });
    assert.equal(seen[0].headers.get("x-amz-content-sha256"), sha256(new Uint8Array(await new Response(body).arrayBuffer())));
    assert.equal(sha256(new Uint8Array(await new Response(seen[0].body).arrayBuffer())), seen[0].headers.get("x-amz-content-sha256"));
  });
}

test("where CloudFront signs, a form is sent as the bytes that were hashed, and its parts can be read", async () => {
  const form = new FormData();
  form.set("file", new Blob([new Uint8Array([0, 255, 128])]), "x.bin");
  const { chat, seen } = client(() => Response.json({}), { getToken: () => "secret", tokenHeader: "x-chat-authorization" });
  await chat.fetch(chat.url, { method: "POST", body: form });
  const { body, headers } = seen[0];
  assert.equal(headers.get("x-amz-content-sha256"), sha256(new Uint8Array(body)));
  const read = await new Response(body, { headers: { "content-type": headers.get("content-type") } }).formData();
  assert.deepEqual(new Uint8Array(await read.get("file").arrayBuffer()), new Uint8Array([0, 255, 128]));
});

test("where nobody else signs, a request is sent as it is", async () => {
  const form = new FormData();
  const { chat, seen } = client(() => Response.json({}), { getToken: () => "secret" });
  await chat.fetch(chat.url, { method: "POST", body: form });
  assert.equal(seen[0].body, form);
  assert.equal(seen[0].headers.get("x-amz-content-sha256"), null);
});

test("a token that cannot be renewed leaves the server's 401, with its sentence", async () => {
  const { chat } = client(() => Response.json({ error: "unauthorized", message: "Sign in." }, { status: 401 }),
    { getToken: ({ renew }) => { if (renew) throw new Error("the issuer is down"); return jwt(600); } });
  await assert.rejects(chat.call("threads.list"), { name: "ChatError", status: 401, code: "unauthorized", message: "Sign in." });
});

// Uploads

/** XMLHttpRequest, answering each try with the next of `answers`: a status, or "cut". */
function xhr(answers, puts = []) {
  return class {
    upload = {};
    headers = {};
    open(method, url) { Object.assign(this, { method, url }); }
    setRequestHeader(name, value) { this.headers[name] = value; }
    abort() { this.onabort(); }
    send(file) {
      puts.push(this);
      const answer = answers.shift();
      queueMicrotask(() => {
        this.upload.onprogress({ loaded: file.size / 2 });
        if (answer === "cut") this.onerror();
        else if (answer !== "never") { this.status = answer; this.onload(); }
      });
    }
  };
}
const DESCRIPTOR = { url: "https://bucket.test/pending/x?signed", method: "PUT", headers: { "content-type": "text/csv", "if-none-match": "*" } };
const announced = (_path, init) => JSON.parse(init.body).type === "attachments.create"
  ? Response.json({ id: "atc_1", type: "file", name: "a.csv", mime_type: "text/csv", upload_descriptor: DESCRIPTOR })
  : Response.json({});
const FILE = new File(["a,b\n"], "a.CSV", { type: "application/vnd.ms-excel" });
const typesOf = (seen) => seen.map((request) => JSON.parse(request.body).type);

test("a file is announced by the type of its name, sent with the signed headers, and told as it goes", async () => {
  const [puts, progress] = [[], []];
  const { chat, seen } = client(announced, { getToken: () => "secret", XMLHttpRequest: xhr([200], puts) });
  const attachment = await chat.upload(FILE, { onProgress: (...sent) => progress.push(sent) });
  assert.deepEqual(attachment, { id: "atc_1", type: "file", name: "a.csv", mime_type: "text/csv" });
  assert.equal(JSON.parse(seen[0].body).params.mime_type, "text/csv");
  assert.deepEqual(puts.map(({ method, url, headers }) => ({ method, url, headers })), [DESCRIPTOR]);
  assert.deepEqual(progress, [[2, 4], [4, 4]]);
});

for (const [name, answers] of [["broke off twice", ["cut", "cut", 200]], ["met a busy S3", [503, 200]], ["landed, its answer lost", ["cut", 412]]]) {
  test(`an upload that ${name} is tried again and succeeds`, async () => {
    const { chat } = client(announced, { XMLHttpRequest: xhr(answers) });
    const done = chat.upload(FILE);
    for (let n = 0; n < 3; n++) await passing(2_000);
    assert.equal((await done).id, "atc_1");
    assert.equal(answers.length, 0);
  });
}

test("an upload that S3 refuses is not tried again, and its attachment is taken back", async () => {
  const { chat, seen } = client(announced, { XMLHttpRequest: xhr([403]) });
  await assert.rejects(chat.upload(FILE), (error) => error instanceof ChatError && error.status === 403);
  await settle();
  assert.deepEqual(typesOf(seen), ["attachments.create", "attachments.delete"]);
});

test("an upload can be given up, and its attachment is taken back", async () => {
  const give = new AbortController();
  const { chat, seen } = client(announced, { XMLHttpRequest: xhr(["never"]) });
  const done = chat.upload(FILE, { signal: give.signal });
  const refused = assert.rejects(done, { name: "AbortError" });
  await settle();
  give.abort();
  await refused;
  await settle();
  assert.deepEqual(typesOf(seen), ["attachments.create", "attachments.delete"]);
});

test("a file that the server does not take is never sent", async () => {
  const puts = [];
  const { chat } = client(() => Response.json({ error: "too_large", message: "Too large." }, { status: 413 }), { XMLHttpRequest: xhr([], puts) });
  await assert.rejects(chat.upload(FILE), { message: "Too large.", code: "too_large" });
  assert.equal(puts.length, 0);
});

test("ChatKit's own upload that S3 has already is a success, any other 412 is not", async () => {
  const { chat } = client(() => new Response(null, { status: 412 }));
  const put = (headers) => chat.fetch("https://bucket.test/pending/x", { method: "PUT", body: "x", headers });
  assert.equal((await put({ "if-none-match": "*" })).status, 200);
  assert.equal((await put({})).status, 412);
});

// The way back into a turn

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
