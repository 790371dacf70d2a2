// Uploads that break off, meet a busy S3, are refused or given up.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { ChatError } from "../../web/src/chat-client.js";
import { client, passing, settle, stopTheClock } from "./chat_client_scene.mjs";

beforeEach(stopTheClock);

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
