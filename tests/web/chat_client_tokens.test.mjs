// Which token goes with a request, in which header, and when it is renewed; what CloudFront has to be told of the body.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { beforeEach, test } from "node:test";
import { guestToken } from "../../web/src/chat-client.js";
import { client, passing, settle, stopTheClock } from "./chat_client_scene.mjs";

beforeEach(stopTheClock);

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

test("a guest's token is asked for with the captcha's, if there is one", async () => {
  const sent = [];
  const fetch = async (url, init) => { sent.push([url, init.method, init.body ?? null]); return Response.json({ token: "t", expires_at: 1 }); };
  const url = "https://chat.test/auth/guest";
  assert.equal((await guestToken({ url, fetch })).token, "t");
  await guestToken({ url, captcha: "solved", fetch });
  assert.deepEqual(sent, [[url, "POST", null], [url, "POST", '{"captcha":"solved"}']]);
});

test("a guest who is refused reads the server's sentence", async () => {
  const fetch = async () => Response.json({ error: "refused", message: "Are you human?" }, { status: 403 });
  await assert.rejects(guestToken({ url: "https://chat.test/auth/guest", fetch }), { name: "ChatError", status: 403, message: "Are you human?" });
});

const unchecked = (headers = {}) => Response.json({ error: "sign_in_unavailable", message: "Not yet." }, { status: 503, headers });

test("a request whose token the server cannot check yet is sent again when the server says, with the same token", async () => {
  const asked = [];
  const { chat, seen } = client((_path, _init, n) => n === 1 ? unchecked({ "retry-after": "48" }) : Response.json({ data: [] }),
    { getToken: ({ renew }) => { asked.push(renew); return jwt(600); } });
  const answer = chat.call("threads.list");
  await passing(47_999);
  assert.equal(seen.length, 1);
  await passing(1);
  assert.deepEqual(await answer, { data: [] });
  assert.equal(seen.length, 2);
  assert.deepEqual(asked, [false]);
});

test("a token that can never be checked ends in the server's sentence", async () => {
  const { chat, seen } = client(() => unchecked(), { getToken: () => jwt(600) });
  const refused = assert.rejects(chat.call("threads.list"), { name: "ChatError", status: 503, code: "sign_in_unavailable" });
  for (let n = 0; n < 3; n++) await passing(2_000);
  await refused;
  assert.equal(seen.length, 3);
});

test("whoever gives up while the token cannot be checked does not wait", async () => {
  const { chat, seen } = client(() => unchecked({ "retry-after": "48" }), { getToken: () => jwt(600) });
  const abort = new AbortController();
  const refused = assert.rejects(chat.fetch(chat.url, { method: "POST", body: "{}", signal: abort.signal }), { name: "AbortError" });
  await settle();
  abort.abort();
  await refused;
  assert.equal(seen.length, 1);
});

test("another 503 is not repeated here", async () => {
  const { chat, seen } = client(() => Response.json({ error: "unavailable", message: "Not now." }, { status: 503 }), { getToken: () => jwt(600) });
  await assert.rejects(chat.call("threads.list"), { status: 503, code: "unavailable" });
  assert.equal(seen.length, 1);
});
