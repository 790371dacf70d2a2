// Property tests of chat-client.js against a model of it: 400 pages with 40 random steps each. A failure names its seed,
// and SEED=... runs only that page. `checkInvariants` has the properties.
import assert from "node:assert/strict";
import { test } from "node:test";
import { chatClient } from "../../web/src/chat-client.js";

const URL_ = "https://chat.test/chatkit";
const PAGES = 400;
const STEPS = 40;
const ATTACH_FOR_MS = 60_000;
const settle = async () => { for (let n = 0; n < 12; n++) await new Promise(setImmediate); };

/** A seeded random number generator (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A page, its server, and the expected outcome of each stream. */
class Page {
  constructor(seed, timers) {
    this.timers = timers;
    this.next = random(seed);
    this.document = { visibilityState: "visible" };
    this.streams = []; // { body, turn, answered, state, abort, sent, got }
    this.stopped = new Set(); // turns for which the server got a Stop
    this.toStop = new Set(); // turns for which it should have got a Stop
    this.broken = new Map(); // body -> { turn, at }: requests whose retry attaches to the turn
    this.chat = chatClient({ url: URL_, getToken: () => null, fetch: (url, init) => this.serve(url, init), document: this.document });
  }

  pick(list) { return list[Math.floor(this.next() * list.length)]; }

  async serve(url, init) {
    init.signal?.throwIfAborted();
    if (url.endsWith("/stop")) {
      this.stopped.add(JSON.parse(init.body).turn_id);
      return Response.json({ stopped: true });
    }
    const stream = this.opening;
    stream.turn = new Headers(init.headers).get("x-chat-turn");
    return new Promise((resolve, reject) => {
      stream.answer = resolve;
      stream.fail = reject;
      init.signal.addEventListener("abort", () => {
        reject(init.signal.reason);
        try { stream.controller?.error(init.signal.reason); } catch { /* already closed */ }
      });
    });
  }

  open_() { return this.streams.filter((stream) => stream.state === "open"); }
  break_(stream) { stream.state = "broken"; this.broken.set(stream.body, { turn: stream.turn, at: Date.now() }); }

  async send() {
    const body = JSON.stringify({ type: "threads.create", params: { text: this.pick(["a", "b", "c"]) } });
    const stream = { body, state: "open", abort: new AbortController(), sent: "", got: "" };
    const before = this.broken.get(body);
    this.broken.delete(body);
    this.opening = stream;
    this.streams.push(stream);
    this.chat.fetch(URL_, { method: "POST", body, signal: stream.abort.signal }).then(async (answer) => {
      if (!answer.ok || !answer.headers.get("content-type").startsWith("text/event")) return;
      for await (const chunk of answer.body) stream.got += new TextDecoder().decode(chunk);
      stream.saw = "end";
    }).catch(() => { stream.saw = "failure"; });
    await settle();
    assert.match(stream.turn, /^[A-Za-z0-9_-]{16,64}$/);
    if (before && Date.now() - before.at < ATTACH_FOR_MS) assert.equal(stream.turn, before.turn, "a retry must attach to its turn");
    else assert.equal(this.streams.filter(({ turn }) => turn === stream.turn).length, 1, "any other request must be a new turn");
  }

  answer() {
    const stream = this.pick(this.open_().filter((open) => !open.answered));
    if (!stream) return;
    stream.answered = true;
    const how = this.pick(["stream", "stream", "stream", "stream", "refuse", "fail", "cut", "page"]);
    if (how === "stream") {
      const body = new ReadableStream({ start: (controller) => { stream.controller = controller; } });
      stream.answer(new Response(body, { headers: { "content-type": "text/event-stream" } }));
    } else if (how === "refuse") {
      stream.state = "over";
      stream.answer(Response.json({}, { status: this.pick([401, 404, 409, 413, 422, 429]) }));
    } else {
      this.break_(stream);
      if (how === "cut") stream.fail(new TypeError("failed"));
      else stream.answer(new Response("?", { status: how === "fail" ? 503 : 200, headers: { "content-type": "text/html" } }));
    }
  }

  streaming() { return this.pick(this.open_().filter((stream) => stream.controller)); }

  chunk() {
    const stream = this.streaming();
    if (!stream) return;
    const text = `data: ${this.next()}\n\n`;
    stream.sent += text;
    stream.controller.enqueue(new TextEncoder().encode(text));
  }

  async end() {
    const stream = this.streaming();
    if (!stream) return;
    stream.controller.close();
    stream.state = "over";
    await settle();
    assert.equal(stream.saw, "end");
  }

  cut() {
    const stream = this.streaming();
    if (!stream) return;
    this.break_(stream);
    stream.controller.error(new TypeError("cut"));
  }

  abort() {
    const stream = this.pick(this.streams); // including ended streams, because their signals fire too
    if (!stream || stream.abort.signal.aborted) return;
    if (stream.state === "open" && this.document.visibilityState === "hidden") this.break_(stream);
    else if (stream.state === "open") {
      stream.state = "over";
      this.toStop.add(stream.turn);
    }
    stream.abort.abort();
  }

  hide() { this.document.visibilityState = "hidden"; }
  show() { this.document.visibilityState = "visible"; }
  wait() { this.timers.tick(this.pick([1_000, 30_000, 59_999, 60_000])); }

  checkInvariants() {
    assert.deepEqual(this.stopped, this.toStop, "exactly the turns that the user stopped must be stopped");
    for (const { got, sent } of this.streams) assert.ok(sent.startsWith(got), "the stream must be passed through unchanged");
  }
}

const STEPS_OF_A_PAGE = ["send", "send", "answer", "answer", "answer", "chunk", "chunk", "chunk", "end", "cut", "abort", "abort", "hide", "show", "show", "wait"];

test("no sequence of requests, responses, cuts, Stops and hidden tabs stops a turn by mistake or runs it twice", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_700_000_000_000 });
  const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: PAGES }, (_, n) => n + 1);
  const counts = { stopped: 0, attached: 0 };
  for (const seed of seeds) {
    const page = new Page(seed, t.mock.timers);
    try {
      for (let step = 0; step < STEPS; step++) {
        await page[page.pick(STEPS_OF_A_PAGE)]();
        await settle();
        page.checkInvariants();
      }
    } catch (error) {
      error.message = `SEED=${seed}: ${error.message}`;
      throw error;
    }
    counts.stopped += page.stopped.size;
    counts.attached += page.streams.length - new Set(page.streams.map(({ turn }) => turn)).size;
  }
  if (!process.env.SEED) for (const [kind, times] of Object.entries(counts)) assert.ok(times > PAGES / 4, `too few turns were ${kind}: ${times}`);
});

// Tokens: with a clock that is off by up to two hours, an issuer that fails, and tokens of different lifetimes.

test("no token lifetime, clock skew or issuer failure causes a third attempt, concurrent renewals or an avoidable 401", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_700_000_000_000 });
  for (let seed = 1; seed <= PAGES; seed++) {
    const next = random(seed);
    const skew = next() < 0.5 ? 0 : Math.floor((next() - 0.5) * 4 * 3_600_000); // the server's clock minus ours, in ms
    const life = [20_000, 300_000, 3_600_000][Math.floor(next() * 3)];
    const now = () => Date.now() + skew; // the clock of server and issuer
    let [pending, attempts, current, down] = [0, 0, null, false];
    const mint = () => `e30.${Buffer.from(JSON.stringify({ exp: Math.floor((now() + life) / 1000), n: next() })).toString("base64url")}.x`;
    const isGood = (token) => token !== null && JSON.parse(atob(token.split(".")[1])).exp * 1000 > now() - 60_000;
    const getToken = async ({ renew }) => {
      assert.equal(++pending, 1, `seed ${seed}: renewals must not be concurrent`);
      await new Promise(setImmediate);
      pending -= 1;
      if (down) throw new Error("the issuer is down");
      return (current = renew || current === null ? mint() : current);
    };
    const fetch = async (_url, init) => {
      attempts += 1;
      const token = new Headers(init.headers).get("authorization")?.slice(7) ?? null;
      return Response.json({}, { status: isGood(token) ? 200 : 401 });
    };
    const { fetch: send } = chatClient({ url: URL_, getToken, fetch, document: { visibilityState: "visible" } });
    for (let step = 0; step < STEPS; step++) {
      t.mock.timers.tick(Math.floor(next() * 120_000));
      down = next() < 0.2;
      attempts = 0;
      const requests = 1 + Math.floor(next() * 3);
      const answers = await Promise.allSettled(Array.from({ length: requests }, () => send(URL_, { method: "POST", body: "{}" })));
      assert.ok(attempts <= 2 * requests, `seed ${seed}: a third attempt`);
      if (!down) assert.deepEqual(answers.map(({ value }) => value?.status), Array(requests).fill(200), `seed ${seed}, step ${step}`);
    }
  }
});
