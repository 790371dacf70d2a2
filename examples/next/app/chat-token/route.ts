import { createPrivateKey, randomUUID, sign } from "node:crypto";
import { cookies } from "next/headers";

const MINUTES = 10;
const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token for who is here, signed with the key whose public half the stage knows: docs/how-to/backend-tokens.md. */
export async function GET(): Promise<Response> {
  const secret = process.env.CHAT_PRIVATE_KEY;
  if (!secret) return new Response(null, { status: 204 }); // `make dev` asks for no token
  const claims = { sub: await visitor(), aud: "chat", exp: Math.floor(Date.now() / 1000) + MINUTES * 60 };
  const unsigned = `${encoded({ alg: "ES256", kid: process.env.CHAT_KEY_ID })}.${encoded(claims)}`;
  const signature = sign("sha256", Buffer.from(unsigned), { key: createPrivateKey(secret), dsaEncoding: "ieee-p1363" });
  return new Response(`${unsigned}.${signature.toString("base64url")}`, { headers: { "cache-control": "no-store" } });
}

/** Your login's user id belongs here. Without one, each browser is a person of its own. */
async function visitor(): Promise<string> {
  const jar = await cookies();
  const known = jar.get("visitor")?.value;
  if (known) return known;
  const id = randomUUID();
  jar.set("visitor", id, { httpOnly: true, sameSite: "lax", secure: process.env.NODE_ENV === "production", path: "/" });
  return id;
}
