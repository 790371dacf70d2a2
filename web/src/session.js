// The session of this tab: open access, a guest, a user of an OpenID issuer, or a user of the site around us.
// Tokens are kept in sessionStorage only, refresh tokens in memory only.

import { guestToken } from "./client/guests.js";
import { currentLanguage, t } from "./texts.js";

const TOKEN = "chat.token"; // beside it TOKEN.kind: whose it is
const FLOW = "chat.sign-in"; // state of the authorization request while the user is at the issuer
const PERSON = "chat.person"; // the user that the site around us has named, in a frame
const BEFORE = "chat.token.before"; // the guest's token, until the guest's chats belong to the signed-in user
const PATIENCE_MS = 2000; // for the issuer's discovery document at sign-out, while the page is already usable again
const ENTRA = /^https:\/\/login\.(microsoftonline\.com|microsoftonline\.us|partner\.microsoftonline\.cn)\//;
const COGNITO = /^https:\/\/cognito-idp\.[a-z0-9-]+\.amazonaws\.com(\.cn)?\//;

/**
 * @param {{ kind: "open" | "guest" | "issuer" | "backend" }} auth  how users sign in: page_of() in lambda_src/http/page.py
 * @param {{ tokenHeader?: string, captcha?: () => Promise<string | undefined>, host?: import("./host.js").Host | null }} how
 *   the header for tokens; a function that returns a CAPTCHA token for a new guest, if the server checks one; the site
 *   around us. If the site names a user, that replaces every other sign-in.
 * An EventTarget that dispatches "change", and "person" when the site names somebody else. getToken is for chatClient;
 * signIn leaves the page.
 */
export class Session extends EventTarget {
  #auth;
  #tokenHeader;
  #captcha;
  #host;
  #named = null; // the token of the site's user
  #refresh = null; // the issuer's refresh token
  #idToken = null; // tells the issuer whose session to end; empty again after a reload
  #left = 0; // counts sign-outs, so that a token requested before one is not used after it

  constructor(auth, { tokenHeader = "authorization", captcha = async () => undefined, host = null } = {}) {
    super();
    this.#auth = auth;
    this.#tokenHeader = tokenHeader;
    this.#captcha = captcha;
    this.#host = host;
    this.getToken = this.getToken.bind(this);
  }

  get canSignIn() { return this.#auth.kind === "issuer" && !this.#named; }
  get canSignOut() { return this.canSignIn && this.#kept("issuer") !== null; }
  get needsSignIn() { return this.canSignIn && !this.#auth.guests && !this.canSignOut; }
  get isHosted() { return this.#auth.kind === "backend" || this.#named !== null; }
  /** Whether requests have, or can get, a token. */
  get isSignedIn() { return this.#named !== null || !this.needsSignIn && !(this.isHosted && this.#kept("backend") === null); }
  /** Whose chats these are; the same after a reload, and with a renewed token. */
  get person() { return personOf(this.#named ?? sessionStorage.getItem(TOKEN)); }
  get hasGuestsChats() { return sessionStorage.getItem(BEFORE) !== null; }

  async getToken({ renew = false } = {}) {
    const { kind, guests } = this.#auth;
    if (this.#named && renew) await this.identify({ renew });
    if (this.#named) return this.#named;
    if (kind === "issuer" && this.canSignOut) return renew ? this.#renewed() : this.#kept("issuer");
    if (kind === "guest" || guests) return (!renew && this.#kept("guest")) || this.#guest();
    return this.#kept("backend");
  }

  /**
   * Ask the site around us for its user's token. A guest's chats go to the user that the site names; if the site names
   * somebody else than before, nothing of the other user is kept here.
   */
  async identify({ renew = false } = {}) {
    const token = await this.#host.token({ renew });
    if (renew && !token) return; // the server decides about the old one
    const [person, before] = [personOf(token), sessionStorage.getItem(PERSON) ?? ""];
    this.#named = token;
    if (person === before) return;
    const guest = person && !before ? this.#kept("guest") : null;
    if (before) {
      history.replaceState(null, "", location.pathname + location.search); // not with the other user's thread
      for (const key of Object.keys(sessionStorage)) if (key.startsWith("chat.")) sessionStorage.removeItem(key);
    }
    if (guest) {
      this.#forget();
      sessionStorage.setItem(BEFORE, guest);
    }
    sessionStorage.setItem(PERSON, person);
    this.dispatchEvent(new Event("person"));
  }

  /** Forget the token after a 401 that a renewed token did not fix. The next request gets a new one. */
  expire() { this.#forget(); }

  /**
   * Sign out of this page at once, then revoke the refresh token and end the issuer's session if the issuer supports
   * that. Resolves to whether the browser is leaving for the issuer, which sends the user back here.
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

  /**
   * Go to the issuer (RFC 7636, S256). It sends the user back to this page, which calls finish(). In a frame, open the
   * page in a new tab instead: issuers refuse to be framed.
   */
  async signIn() {
    if (parent !== window) return void open(here(), "_blank", "noopener");
    const [verifier, state] = [random(), random()];
    const { authorization_endpoint: endpoint } = await this.#discovered();
    const { issuer, client_id, audience, resource, scope } = this.#auth;
    // Without prompt=consent an issuer may issue no refresh token (OpenID Connect Core, 11). Entra issues one anyway,
    // and the prompt would require an administrator if users may not consent.
    const asksConsent = scope.split(" ").includes("offline_access") && !ENTRA.test(issuer);
    sessionStorage.setItem(FLOW, JSON.stringify({ verifier, state, place: location.search + location.hash }));
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
   * After the return from the issuer: exchange the code for a token. Throws an error whose message is for the user.
   * Anyone can create a link to this page, so its parameters count only with the `state` that we sent (RFC 6749, 4.1.2.1).
   */
  async finish() {
    const back = new URLSearchParams(location.search);
    if (!this.canSignIn || !(back.has("code") || back.has("error"))) return;
    const flow = JSON.parse(sessionStorage.getItem(FLOW) ?? "{}");
    sessionStorage.removeItem(FLOW);
    history.replaceState(null, "", here() + (flow.place ?? ""));
    if (!flow.state || flow.state !== back.get("state")) throw new Error(t("sign_in_elsewhere"));
    if (back.has("error")) throw new Error(back.get("error_description") || t("sign_in_unfinished"));
    const code = { grant_type: "authorization_code", code: back.get("code"), redirect_uri: here(), code_verifier: flow.verifier };
    const guest = this.#kept("guest");
    if (!(await this.#exchange(code))) throw new Error(t("sign_in_refused"));
    if (guest) sessionStorage.setItem(BEFORE, guest);
  }

  /**
   * Move the guest's threads to the signed-in user (POST /chatkit/link). `chats` has a chatClient for each assistant.
   * Throws an error whose message is for the user. While hasGuestsChats is true, it can be retried, even after a reload.
   */
  async takeAlong(chats) {
    if (!this.hasGuestsChats) return;
    const body = JSON.stringify({ guest_token: sessionStorage.getItem(BEFORE) });
    const asked = { method: "POST", headers: { "content-type": "application/json" }, body };
    const answers = [];
    for (const chat of chats) answers.push(await chat.fetch(`${chat.url}/link`, asked).catch(() => null));
    const isFinal = answers.every((answer) => answer && (answer.ok || (answer.status < 500 && ![401, 429].includes(answer.status))));
    if (isFinal) sessionStorage.removeItem(BEFORE);
    if (!isFinal) throw new Error(t("chats_not_moved_yet"));
    if (!answers.every(({ ok }) => ok)) throw new Error(t("chats_not_moved"));
  }

  async #renewed() {
    if (this.#refresh) await this.#exchange({ grant_type: "refresh_token", refresh_token: this.#refresh });
    return this.#kept("issuer"); // the old token if there is no new one: the server will refuse it
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
    if (String(told.access_token).split(".").length !== 3) {
      console.warn("The access token is not a JWT. Set auth.audience or settings.auth_resource: docs/how-to/openid-issuer.md");
      throw new Error(t("access_token_not_jwt"));
    }
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
    if (!answer?.ok) throw new Error(t("sign_in_unreachable"));
    return answer.json();
  }

  async #guest() {
    const { token } = await guestToken({ url: "auth/guest", captcha: await this.#captcha(), tokenHeader: this.#tokenHeader, language: currentLanguage() });
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

/** Whose token it is, to notice another user: "" for no token. Proves nothing, since only the server checks tokens. */
function personOf(token) {
  if (!token) return "";
  try {
    const { iss, sub } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return JSON.stringify([iss, sub]);
  } catch {
    return token;
  }
}

const here = () => location.origin + location.pathname;
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
