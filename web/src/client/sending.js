// How a request is sent: with a token that is good, and signed where CloudFront signs.
import { hexOf, pause } from "./tries.js";

const RENEW_BEFORE_MS = 60_000; // the server forgives a minute, and a request may wait that long for its turn
const SIGN_IN_TRIES = 3; // of a request whose token the server cannot check yet: it says how long to wait
const SIGN_IN_WAIT_MS = [2_000, 60_000]; // at least, where the header cannot be read; at most
const UNCHECKED = new Set([401, 503]); // a key that the server does not know yet; no keys at all
const BODILESS = new Set(["GET", "HEAD"]);

/**
 * fetch with the token; repeated once when it is refused and there is another, and when the server cannot check it yet
 * ("sign_in_unavailable": nothing was begun) after as long as the server asks for.
 */
export function senderOf(getToken, tokenHeader, fetch) {
  const tokens = tokensOf(getToken);
  return async function send(target, init) {
    init = await signable(init, tokenHeader);
    const attempt = async (token) => {
      const headers = new Headers(init.headers);
      if (token) headers.set(tokenHeader, `Bearer ${token}`);
      return fetch.call(globalThis, target, { ...init, headers });
    };
    const authorized = async () => {
      const used = await tokens.current();
      const answer = await attempt(used);
      if (answer.status !== 401 || (await isUnchecked(answer))) return answer;
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
  UNCHECKED.has(answer.status) && (answer.headers.get("content-type") ?? "").startsWith("application/json") &&
  (await answer.clone().json().catch(() => null))?.error === "sign_in_unavailable";

/**
 * Where CloudFront signs requests, Authorization is its own (so `tokenHeader` is another), and Lambda takes no POST that
 * does not say the SHA-256 of its body, also of an empty one:
 * https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-restricting-access-to-lambda.html
 * A form or a file becomes the bytes that are sent, with the content type that tells its parts.
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

/** The token in use: asked for once, renewed before it ends or when the server refuses it, by one request for all. */
function tokensOf(getToken) {
  let token = null;
  let doubted = null; // a renewed token that seems to end already: the clock here is wrong, the server's word counts
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
    /** Another one than was refused; null when there is none. */
    async insteadOf(refused) {
      if (token === refused) await ask(true).catch(() => {}); // the 401 is what the page is told
      return token === refused ? null : token;
    },
  };
}

/** Milliseconds until a JWT ends; NaN for what does not say so. */
function leftOf(token) {
  try {
    const { exp } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return exp * 1000 - Date.now();
  } catch {
    return NaN;
  }
}
