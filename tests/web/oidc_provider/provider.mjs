// An OpenID provider on https for the tests: oidc-provider, which the OpenID Foundation certified. Anybody signs in with
// any password. Access tokens are JWTs for whatever resource is requested, and opaque without one.
// Prints "listening" once it serves. A line on stdin publishes the second key and signs with it; it prints "rotated".
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:https";
import { createInterface } from "node:readline";
import Provider from "oidc-provider";

const { issuer, certificate, key, page, audience, lifetimeS } = JSON.parse(process.argv[2]);
const keys = ["key-1", "key-2"].map((kid) => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid, use: "sig", alg: "RS256" };
});
let published = 1;

const provider = new Provider(issuer, {
  clients: [{
    client_id: "page",
    token_endpoint_auth_method: "none", // a public client
    grant_types: ["authorization_code", "refresh_token"],
    redirect_uris: [page],
    post_logout_redirect_uris: [page],
  }],
  clientBasedCORS: (context, origin) => page === `${origin}/`,
  cookies: { keys: ["signs the cookies of this test"] },
  features: {
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo: () => ({
        scope: "",
        audience,
        accessTokenFormat: "jwt",
        accessTokenTTL: lifetimeS,
        jwt: { sign: { alg: "RS256", kid: keys[published - 1].kid } },
      }),
    },
  },
  jwks: { keys },
});
provider.use(async (context, next) => {
  await next();
  if (context.oidc?.route === "jwks") context.body = { keys: context.body.keys.slice(0, published) };
});

createServer({ cert: certificate, key }, provider.callback())
  .listen(Number(new URL(issuer).port), "localhost", () => console.log("listening"));
createInterface({ input: process.stdin }).on("line", () => {
  published = 2;
  console.log("rotated");
}).on("close", () => process.exit()); // the test that started it is gone
