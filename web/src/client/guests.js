// Requests a guest's token.
import { resultOf } from "./answers.js";
import { signable } from "./sending.js";

/** @type {typeof import("../chat-client.d.ts").guestToken} */
export async function guestToken({ url, captcha, language, tokenHeader = "authorization", fetch = globalThis.fetch }) {
  const headers = { ...(captcha && { "content-type": "application/json" }), ...(language && { "accept-language": language }) };
  const body = captcha ? JSON.stringify({ captcha }) : undefined;
  return resultOf(await fetch.call(globalThis, url, await signable({ method: "POST", headers, body }, tokenHeader)));
}
