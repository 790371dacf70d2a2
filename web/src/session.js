// Who is signed in: nobody needs to be, a guest, a person of an OpenID issuer, or whoever the site around us says.
// The token lives in this tab (sessionStorage) and nowhere else.

const KEY = "chat.token";

/**
 * @param {{ kind: "open" | "guest" | "issuer" | "backend" }} auth  how people sign in: PageConfig of lambda_src/page.py
 * @returns {{ getToken: (how: { renew: boolean }) => Promise<string | null> }}  getToken: for chatFetch
 */
export function createSession(auth) {
  async function guest() {
    const answer = await fetch("auth/guest", { method: "POST" });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.message ?? "No guests are let in now.");
    sessionStorage.setItem(KEY, body.token);
    return body.token;
  }

  return {
    async getToken({ renew }) {
      const kept = sessionStorage.getItem(KEY);
      if (kept && !renew) return kept;
      return auth.kind === "guest" ? guest() : kept;
    },
  };
}
