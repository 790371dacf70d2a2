// Requests a guest's token.
import { resultOf } from "./answers.js";
import { signable } from "./sending.js";

/** @type {typeof import("../chat-client.d.ts").guestToken} */
export async function guestToken({ url, captcha, tokenHeader = "authorization", fetch = globalThis.fetch }) {
  const sent = captcha ? { headers: { "content-type": "application/json" }, body: JSON.stringify({ captcha }) } : {};
  return resultOf(await fetch.call(globalThis, url, await signable({ method: "POST", ...sent }, tokenHeader)));
}
