// Sends requests with a valid token, and with a body hash if CloudFront signs requests.
import { hexOf, pause } from "./tries.js";

const RENEW_BEFORE_MS = 60_000; // the server forgives a minute, and a request may wait that long for its turn
const SIGN_IN_TRIES = 3; // for a request whose token the server cannot check yet
const SIGN_IN_WAIT_MS = [2_000, 60_000]; // minimum, if Retry-After is unreadable, and maximum
const BODILESS = new Set(["GET", "HEAD"]);

/**
 * fetch with the token. Repeats a request once with another token if the first is refused, and after Retry-After if the
 * server cannot check the token yet ("sign_in_unavailable": it has started nothing). `language` is the one that the
 * server answers in; without it the browser names those of the user.
 */
export function senderOf(getToken, tokenHeader, fetch, language) {
  const tokens = tokensOf(getToken);
  return async function send(target, init) {
    init = await signable(init, tokenHeader);
    const attempt = async (token) => {
      const headers = new Headers(init.headers);
      if (token) headers.set(tokenHeader, `Bearer ${token}`);
      if (language) headers.set("accept-language", language);
      return fetch.call(globalThis, target, { ...init, headers });
    };
    const authorized = async () => {
      const used = await tokens.current();
      const answer = await attempt(used);
      if (answer.status !== 401) return answer;
      const other = await tokens.insteadOf(used);
      if (other === null) return answer;
      await answer.body?.cancel();
      return attempt(other);
    };
    for (let tries = 1; ; tries += 1) {
      const answer = await authorized();
      if (tries === SIGN_IN_TRIES || !(await isUnchecked(answer))) return answer;
      const [least, most] = SIGN_IN_WAIT_MS;
      await pause(Math.min(Number(answer.headers.get("retry-after")) * 1000 || least, most), init.signal);
    }
  };
}

const isUnchecked = async (answer) =>
  answer.status === 503 && (answer.headers.get("content-type") ?? "").startsWith("application/json") &&
  (await answer.clone().json().catch(() => null))?.error === "sign_in_unavailable";

/**
 * If CloudFront signs requests, it uses Authorization itself (so `tokenHeader` differs), and Lambda requires the SHA-256
 * of every POST's body, even of an empty one:
 * https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-restricting-access-to-lambda.html
 * A form or file is converted to the bytes that are sent, with their content type.
 */
export async function signable(init, tokenHeader) {
  if (tokenHeader === "authorization" || BODILESS.has((init.method ?? "GET").toUpperCase())) return init;
  const whole = new Response(init.body);
  const [bytes, type] = [await whole.arrayBuffer(), whole.headers.get("content-type")];
  const headers = new Headers(init.headers);
  if (type && !headers.has("content-type")) headers.set("content-type", type);
  headers.set("x-amz-content-sha256", hexOf(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))));
  return { ...init, headers, body: init.body == null || typeof init.body === "string" ? init.body : bytes };
}

/** The current token: requested once, and renewed before it expires or when the server refuses it, once for all requests. */
function tokensOf(getToken) {
  let token = null;
  let doubted = null; // a renewed token that seems expired: the local clock is wrong, so let the server decide
  let asking = null;

  function ask(renew) {
    asking ??= (async () => {
      token = (await getToken({ renew })) ?? null;
      doubted = renew && leftOf(token) < RENEW_BEFORE_MS ? token : null;
    })().finally(() => { asking = null; });
    return asking;
  }

  return {
    async current() {
      const left = leftOf(token);
      if (Number.isNaN(left)) await ask(false); // none yet, or one that does not say when it ends
      else if (left < RENEW_BEFORE_MS && token !== doubted) await ask(true);
      return token;
    },
    /** Another token than the refused one; null if there is none. */
    async insteadOf(refused) {
      if (token === refused) await ask(true).catch(() => {}); // the page gets the 401
      return token === refused ? null : token;
    },
  };
}

/** Milliseconds until a JWT expires; NaN if that is unknown. */
function leftOf(token) {
  try {
    const { exp } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return exp * 1000 - Date.now();
  } catch {
    return NaN;
  }
}
