// An OpenID provider over HTTPS for tests: oidc-provider, which is certified by the OpenID Foundation. It accepts any
// login and password. Access tokens are JWTs if a resource is requested, and opaque otherwise.
// It prints "listening" when ready. A line on stdin publishes and activates a second signing key, and prints "rotated".
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
}).on("close", () => process.exit()); // when the test closes stdin
