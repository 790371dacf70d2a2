// Uploads: progress, retries after a lost connection or a busy S3, refusals and cancellation.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { ChatError } from "../../web/src/chat-client.js";
import { client, passing, settle, stopTheClock } from "./chat_client_scene.mjs";

beforeEach(stopTheClock);

/** A fake XMLHttpRequest that ends each attempt with the next of `answers`: a status, "cut" or "never". */
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
const typesOf = (requests) => requests.map((request) => JSON.parse(request.body).type);

test("a file is created with the type of its extension and uploaded with the signed headers and progress", async () => {
  const [puts, progress] = [[], []];
  const { chat, requests } = client(announced, { getToken: () => "secret", XMLHttpRequest: xhr([200], puts) });
  const attachment = await chat.upload(FILE, { onProgress: (...sent) => progress.push(sent) });
  assert.deepEqual(attachment, { id: "atc_1", type: "file", name: "a.csv", mime_type: "text/csv" });
  assert.equal(JSON.parse(requests[0].body).params.mime_type, "text/csv");
  assert.deepEqual(puts.map(({ method, url, headers }) => ({ method, url, headers })), [DESCRIPTOR]);
  assert.deepEqual(progress, [[2, 4], [4, 4]]);
});

for (const [name, answers] of [["broke off twice", ["cut", "cut", 200]], ["met a busy S3", [503, 200]], ["succeeded without a response", ["cut", 412]]]) {
  test(`an upload that ${name} is retried and succeeds`, async () => {
    const { chat } = client(announced, { XMLHttpRequest: xhr(answers) });
    const done = chat.upload(FILE);
    for (let n = 0; n < 3; n++) await passing(2_000);
    assert.equal((await done).id, "atc_1");
    assert.equal(answers.length, 0);
  });
}

test("an upload that S3 refuses is not retried, and its attachment is deleted", async () => {
  const { chat, requests } = client(announced, { XMLHttpRequest: xhr([403]) });
  await assert.rejects(chat.upload(FILE), (error) => error instanceof ChatError && error.status === 403);
  await settle();
  assert.deepEqual(typesOf(requests), ["attachments.create", "attachments.delete"]);
});

test("an upload can be canceled, and its attachment is deleted", async () => {
  const cancel = new AbortController();
  const { chat, requests } = client(announced, { XMLHttpRequest: xhr(["never"]) });
  const done = chat.upload(FILE, { signal: cancel.signal });
  const refused = assert.rejects(done, { name: "AbortError" });
  await settle();
  cancel.abort();
  await refused;
  await settle();
  assert.deepEqual(typesOf(requests), ["attachments.create", "attachments.delete"]);
});

test("a file that the server refuses is never uploaded", async () => {
  const puts = [];
  const { chat } = client(() => Response.json({ error: "too_large", message: "Too large." }, { status: 413 }), { XMLHttpRequest: xhr([], puts) });
  await assert.rejects(chat.upload(FILE), { message: "Too large.", code: "too_large" });
  assert.equal(puts.length, 0);
});

test("a 412 for ChatKit's own upload means that S3 has the file; any other 412 is an error", async () => {
  const { chat } = client(() => new Response(null, { status: 412 }));
  const put = (headers) => chat.fetch("https://bucket.test/pending/x", { method: "PUT", body: "x", headers });
  assert.equal((await put({ "if-none-match": "*" })).status, 200);
  assert.equal((await put({})).status, 412);
});
