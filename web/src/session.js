// Who is signed in: nobody needs to be, a guest, a person of an OpenID issuer, or whoever the site around us says.
// Tokens live in this tab (sessionStorage) and nowhere else; what renews them lives in memory only.

import { guestToken } from "./client/guests.js";

const TOKEN = "chat.token"; // beside it TOKEN.kind: whose it is
const FLOW = "chat.sign-in"; // what we must remember while people are at the issuer
const BEFORE = "chat.token.before"; // the token of the guest that this person was, until the chats have come along
const PATIENCE_MS = 2000; // for the issuer's discovery document on sign-out: the page is in use again meanwhile
const ENTRA = /^https:\/\/login\.(microsoftonline\.com|microsoftonline\.us|partner\.microsoftonline\.cn)\//;
const OPAQUE = "You could not be signed in: the sign-in service sent an access token that is not a JWT. "
  + "Whoever runs this chat must set auth.audience or auth.resource to the API's identifier there (docs/auth.md).";
const COGNITO = /^https:\/\/cognito-idp\.[a-z0-9-]+\.amazonaws\.com(\.cn)?\//;

/**
 * @param {{ kind: "open" | "guest" | "issuer" | "backend" }} auth  how people sign in: page_of() in lambda_src/http/page.py
 * @param {{ tokenHeader?: string, captcha?: () => Promise<string | undefined> }} how  the header that tokens travel in;
 *   what gets a CAPTCHA's token for a new guest, where the server checks one
 * An EventTarget that sends "change". getToken is for chatClient; signIn leaves the page, if it must.
 */
export class Session extends EventTarget {
  #auth;
  #tokenHeader;
  #captcha;
  #refresh = null; // the issuer's refresh token
  #idToken = null; // tells the issuer whose session to end; empty again after a reload
  #left = 0; // how often a token was forgotten: one that was asked for before is nobody's now

  constructor(auth, { tokenHeader = "authorization", captcha = async () => undefined } = {}) {
    super();
    this.#auth = auth;
    this.#tokenHeader = tokenHeader;
    this.#captcha = captcha;
    this.getToken = this.getToken.bind(this);
  }

  get canSignIn() { return this.#auth.kind === "issuer"; }
  get canSignOut() { return this.canSignIn && this.#kept("issuer") !== null; }
  get needsSignIn() { return this.canSignIn && !this.#auth.guests && !this.canSignOut; }
  get isHosted() { return this.#auth.kind === "backend"; }
  /** Whether requests have, or will find, a token that the server can take. */
  get isSignedIn() { return !this.needsSignIn && !(this.isHosted && this.#kept("backend") === null); }
  get hasGuestsChats() { return sessionStorage.getItem(BEFORE) !== null; }

  async getToken({ renew = false } = {}) {
    const { kind, guests } = this.#auth;
    if (kind === "issuer" && this.canSignOut) return renew ? this.#renewed() : this.#kept("issuer");
    if (kind === "guest" || guests) return (!renew && this.#kept("guest")) || this.#guest();
    return this.#kept("backend");
  }

  /** After a 401 that a new token did not heal: forget the old one, so that the next request begins anew. */
  expire() { this.#forget(); }

  /**
   * Forget at once who is signed in here, then revoke the refresh token and end the issuer's session, where it offers
   * that. Resolves to whether this page is being left for the issuer, which sends people back to it.
   */
  async signOut() {
    const ending = this.canSignOut ? this.#endOfSession(this.#idToken, this.#refresh) : null;
    this.#forget();
    sessionStorage.removeItem(BEFORE);
    this.#refresh = this.#idToken = null;
    const address = await ending?.catch(() => null);
    if (address) location.assign(address);
    return Boolean(address);
  }

  /** Go to the issuer (RFC 7636, S256); people come back to this page, which calls finish(). */
  async signIn() {
    const [verifier, state] = [random(), random()];
    const { authorization_endpoint: endpoint } = await this.#discovered();
    const { issuer, client_id, audience, resource, scope } = this.#auth;
    // Without it an issuer may give no refresh token (OpenID Connect Core, 11). Entra gives one, and would ask for an
    // administrator's consent where users may not consent.
    const asksConsent = scope.split(" ").includes("offline_access") && !ENTRA.test(issuer);
    sessionStorage.setItem(FLOW, JSON.stringify({ verifier, state, hash: location.hash }));
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
    const asked = new URLSearchParams({
      response_type: "code", client_id, redirect_uri: here(), scope, state,
      code_challenge: base64url(new Uint8Array(digest)), code_challenge_method: "S256",
      ...(asksConsent ? { prompt: "consent" } : {}),
      ...(resource ? { resource } : audience && audience !== client_id ? { audience } : {}), // RFC 8707; Auth0's way
    });
    location.assign(`${endpoint}?${asked}`);
  }

  /**
   * When people come back from the issuer: code to token. Throws a sentence for the user, in plain text. Anybody can
   * make a link to here: what it says counts, and is shown, only with the `state` that we sent (RFC 6749, 4.1.2.1).
   */
  async finish() {
    const back = new URLSearchParams(location.search);
    if (!this.canSignIn || !(back.has("code") || back.has("error"))) return;
    const flow = JSON.parse(sessionStorage.getItem(FLOW) ?? "{}");
    sessionStorage.removeItem(FLOW);
    history.replaceState(null, "", here() + (flow.hash ?? ""));
    if (!flow.state || flow.state !== back.get("state")) throw new Error("This sign-in was begun elsewhere. Try again.");
    if (back.has("error")) throw new Error(back.get("error_description") || "The sign-in was not finished. Try again.");
    const code = { grant_type: "authorization_code", code: back.get("code"), redirect_uri: here(), code_verifier: flow.verifier };
    const guest = this.#kept("guest");
    if (!(await this.#exchange(code))) throw new Error("The sign-in was refused. Try again.");
    if (guest) sessionStorage.setItem(BEFORE, guest);
  }

  /**
   * Who came as a guest and has signed in keeps the threads (POST /chatkit/adopt). `fetch` is a chatClient's. Throws a
   * sentence for the user; while hasGuestsChats the same may be tried again, also after a reload.
   */
  async takeAlong(fetch) {
    if (!this.hasGuestsChats) return;
    const body = JSON.stringify({ guest_token: sessionStorage.getItem(BEFORE) });
    const asked = { method: "POST", headers: { "content-type": "application/json" }, body };
    const answer = await fetch("chatkit/adopt", asked).catch(() => null);
    const isFinal = answer && (answer.ok || (answer.status < 500 && ![401, 429].includes(answer.status)));
    if (isFinal) sessionStorage.removeItem(BEFORE);
    if (!isFinal) throw new Error("You are signed in. The chats from before have not come along yet.");
    if (!answer.ok) throw new Error("You are signed in. The chats from before could not be taken along.");
  }

  async #renewed() {
    if (this.#refresh) await this.#exchange({ grant_type: "refresh_token", refresh_token: this.#refresh });
    return this.#kept("issuer"); // the old one, where there is no new one: the request is refused then
  }

  async #exchange(asked) {
    const left = this.#left;
    const { token_endpoint: endpoint } = await this.#discovered();
    const { client_id, resource } = this.#auth;
    const body = new URLSearchParams({ ...asked, client_id, ...(resource ? { resource } : {}) });
    const answer = await fetch(endpoint, { method: "POST", body }).catch(() => null);
    if (!answer?.ok) return false;
    const told = await answer.json();
    if (left !== this.#left) return false;
    if (String(told.access_token).split(".").length !== 3) throw new Error(OPAQUE);
    this.#refresh = told.refresh_token ?? this.#refresh;
    this.#idToken = told.id_token ?? this.#idToken;
    this.#keep("issuer", told.access_token);
    return true;
  }

  /**
   * Revoke the refresh token (RFC 7009), and return the URL that ends the issuer's session (OpenID Connect RP-Initiated
   * Logout 1.0), null if there is none. Cognito names other parameters, and may leave the URL out of its discovery.
   */
  async #endOfSession(idToken, token) {
    const { issuer, client_id } = this.#auth;
    const { end_session_endpoint, revocation_endpoint, authorization_endpoint } = await this.#discovered({ signal: AbortSignal.timeout(PATIENCE_MS) });
    if (token && revocation_endpoint) {
      const body = new URLSearchParams({ token, token_type_hint: "refresh_token", client_id });
      fetch(revocation_endpoint, { method: "POST", body, keepalive: true }).catch(() => {}); // the page may be left meanwhile
    }
    const isCognito = COGNITO.test(issuer);
    const endpoint = end_session_endpoint ?? (isCognito ? new URL("/logout", authorization_endpoint).href : null);
    if (!endpoint || new URL(endpoint).protocol !== new URL(issuer).protocol) return null;
    const asked = isCognito ? { client_id, logout_uri: here() }
      : { client_id, post_logout_redirect_uri: here(), ...(idToken ? { id_token_hint: idToken } : {}) };
    const address = new URL(endpoint);
    for (const [name, value] of Object.entries(asked)) address.searchParams.set(name, value);
    return address.href;
  }

  async #discovered(how) {
    const answer = await fetch(`${this.#auth.issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, how).catch(() => null);
    if (!answer?.ok) throw new Error("The sign-in page cannot be reached. Try again in a moment.");
    return answer.json();
  }

  async #guest() {
    const { token } = await guestToken({ url: "auth/guest", captcha: await this.#captcha(), tokenHeader: this.#tokenHeader });
    this.#keep("guest", token);
    return token;
  }

  #kept(kind) {
    return sessionStorage.getItem(`${TOKEN}.kind`) === kind || kind === "backend" ? sessionStorage.getItem(TOKEN) : null;
  }

  #keep(kind, token) {
    sessionStorage.setItem(TOKEN, token);
    sessionStorage.setItem(`${TOKEN}.kind`, kind);
    this.dispatchEvent(new Event("change"));
  }

  #forget() {
    this.#left += 1;
    sessionStorage.removeItem(TOKEN);
    sessionStorage.removeItem(`${TOKEN}.kind`);
    this.dispatchEvent(new Event("change"));
  }
}

const here = () => location.origin + location.pathname;
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
