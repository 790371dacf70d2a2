// Tokens of requests: header, renewal, guests, tokens that cannot be checked yet; body hashes for CloudFront.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { beforeEach, test } from "node:test";
import { guestToken } from "../../web/src/chat-client.js";
import { client, passing, settle, stopTheClock } from "./chat_client_scene.mjs";

beforeEach(stopTheClock);

const jwt = (seconds, name = "t") =>
  `e30.${Buffer.from(JSON.stringify({ sub: name, exp: Math.floor(Date.now() / 1000) + seconds })).toString("base64url")}.x`;

test("if the clock is an hour ahead, a token is renewed once and then left to the server", async () => {
  const tokenCalls = [];
  const tokens = [jwt(-3600, "first"), jwt(-3600, "second")];
  const { chat } = client(() => Response.json({}), { getToken: ({ renew }) => { tokenCalls.push(renew); return tokens[Math.min(tokenCalls.length, 2) - 1]; } });
  for (let n = 0; n < 5; n++) await chat.call("threads.list");
  assert.deepEqual(tokenCalls, [false, true]);
});

test("without a token, one is requested after a 401", async () => {
  const { chat, requests } = client((_path, init) => new Headers(init.headers).has("authorization") ? Response.json({}) : Response.json({}, { status: 401 }),
    { getToken: ({ renew }) => renew ? "token" : null });
  await chat.call("threads.list");
  assert.equal(requests[1].headers.get("authorization"), "Bearer token");
});

test("a token without an expiry is requested each time and not renewed", async () => {
  const tokenCalls = [];
  const { chat } = client(() => Response.json({}), { getToken: ({ renew }) => { tokenCalls.push(renew); return "opaque"; } });
  for (let n = 0; n < 3; n++) await chat.call("threads.list");
  assert.deepEqual(tokenCalls, [false, false, false]);
});

test("when CloudFront signs requests, the token has its own header and the body has a hash", async () => {
  const { chat, requests } = client(() => Response.json({}), { getToken: () => "secret", tokenHeader: "x-chat-authorization" });
  await chat.call("threads.list");
  const headers = Object.fromEntries(requests[0].headers);
  assert.equal(headers.authorization, undefined);
  assert.equal(headers["x-chat-authorization"], "Bearer secret");
  assert.equal(headers["x-amz-content-sha256"], createHash("sha256").update(requests[0].body).digest("hex"));
});

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

for (const [what, body] of [
  ["nothing", undefined], ["an empty text", ""], ["a text", "Grüße"], ["bytes", new Uint8Array([0, 255, 128])],
  ["a file", new Blob([new Uint8Array([0, 255])], { type: "image/png" })], ["parameters", new URLSearchParams({ a: "ä" })],
]) {
  test(`when CloudFront signs requests, a body is sent with the hash of its bytes: ${what}`, async () => {
    const { chat, requests } = client(() => Response.json({}), { getToken: () => "secret", tokenHeader: "x-chat-authorization" });
    await chat.fetch(chat.url, { method: "POST", body });
    assert.equal(requests[0].headers.get("x-amz-content-sha256"), sha256(new Uint8Array(await new Response(body).arrayBuffer())));
    assert.equal(sha256(new Uint8Array(await new Response(requests[0].body).arrayBuffer())), requests[0].headers.get("x-amz-content-sha256"));
  });
}

test("when CloudFront signs requests, a form is sent as the hashed bytes and can still be parsed", async () => {
  const form = new FormData();
  form.set("file", new Blob([new Uint8Array([0, 255, 128])]), "x.bin");
  const { chat, requests } = client(() => Response.json({}), { getToken: () => "secret", tokenHeader: "x-chat-authorization" });
  await chat.fetch(chat.url, { method: "POST", body: form });
  const { body, headers } = requests[0];
  assert.equal(headers.get("x-amz-content-sha256"), sha256(new Uint8Array(body)));
  const read = await new Response(body, { headers: { "content-type": headers.get("content-type") } }).formData();
  assert.deepEqual(new Uint8Array(await read.get("file").arrayBuffer()), new Uint8Array([0, 255, 128]));
});

test("without signing, a request is sent unchanged", async () => {
  const form = new FormData();
  const { chat, requests } = client(() => Response.json({}), { getToken: () => "secret" });
  await chat.fetch(chat.url, { method: "POST", body: form });
  assert.equal(requests[0].body, form);
  assert.equal(requests[0].headers.get("x-amz-content-sha256"), null);
});

test("if a token cannot be renewed, the server's 401 and its message are reported", async () => {
  const { chat } = client(() => Response.json({ error: "unauthorized", message: "Sign in." }, { status: 401 }),
    { getToken: ({ renew }) => { if (renew) throw new Error("the issuer is down"); return jwt(600); } });
  await assert.rejects(chat.call("threads.list"), { name: "ChatError", status: 401, code: "unauthorized", message: "Sign in." });
});

test("a guest token is requested with the captcha token, if there is one", async () => {
  const sent = [];
  const fetch = async (url, init) => { sent.push([url, init.method, init.body ?? null]); return Response.json({ token: "t", expires_at: 1 }); };
  const url = "https://chat.test/auth/guest";
  assert.equal((await guestToken({ url, fetch })).token, "t");
  await guestToken({ url, captcha: "solved", fetch });
  assert.deepEqual(sent, [[url, "POST", null], [url, "POST", '{"captcha":"solved"}']]);
});

test("every request asks for answers in the given language", async () => {
  const { chat, requests } = client(() => Response.json({}), { language: "de" });
  await chat.call("threads.list");
  const fetch = async (_url, init) => { requests.push({ headers: new Headers(init.headers) }); return Response.json({}); };
  await guestToken({ url: "https://chat.test/auth/guest", language: "de", fetch });
  assert.deepEqual(requests.map(({ headers }) => headers.get("accept-language")), ["de", "de"]);
});

test("a refused guest gets the server's message", async () => {
  const fetch = async () => Response.json({ error: "refused", message: "Are you human?" }, { status: 403 });
  await assert.rejects(guestToken({ url: "https://chat.test/auth/guest", fetch }), { name: "ChatError", status: 403, message: "Are you human?" });
});

const unchecked = (headers = {}) => Response.json({ error: "sign_in_unavailable", message: "Not yet." }, { status: 503, headers });

test("if the server cannot check a token yet, the request is retried after its delay with the same token", async () => {
  const tokenCalls = [];
  const { chat, requests } = client((_path, _init, n) => n === 1 ? unchecked({ "retry-after": "48" }) : Response.json({ data: [] }),
    { getToken: ({ renew }) => { tokenCalls.push(renew); return jwt(600); } });
  const answer = chat.call("threads.list");
  await passing(47_999);
  assert.equal(requests.length, 1);
  await passing(1);
  assert.deepEqual(await answer, { data: [] });
  assert.equal(requests.length, 2);
  assert.deepEqual(tokenCalls, [false]);
});

test("if a token can never be checked, the server's message is reported", async () => {
  const { chat, requests } = client(() => unchecked(), { getToken: () => jwt(600) });
  const refused = assert.rejects(chat.call("threads.list"), { name: "ChatError", status: 503, code: "sign_in_unavailable" });
  for (let n = 0; n < 3; n++) await passing(2_000);
  await refused;
  assert.equal(requests.length, 3);
});

test("aborting ends the wait for a token to be checked", async () => {
  const { chat, requests } = client(() => unchecked({ "retry-after": "48" }), { getToken: () => jwt(600) });
  const abort = new AbortController();
  const refused = assert.rejects(chat.fetch(chat.url, { method: "POST", body: "{}", signal: abort.signal }), { name: "AbortError" });
  await settle();
  abort.abort();
  await refused;
  assert.equal(requests.length, 1);
});

test("any other 503 is not retried", async () => {
  const { chat, requests } = client(() => Response.json({ error: "unavailable", message: "Not now." }, { status: 503 }), { getToken: () => jwt(600) });
  await assert.rejects(chat.call("threads.list"), { status: 503, code: "unavailable" });
  assert.equal(requests.length, 1);
});
