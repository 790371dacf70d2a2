// Detects links whose text names another site than their target. Pure.

const SITE = /(?:[a-z][a-z\d+.-]*:\/\/)?((?:[\p{L}\p{N}-]+\.)+\p{L}{2,})(?::\d+)?(?:[/?#]\S*)?/giu;
const INVISIBLE = /[\p{Cc}\p{Cf}]/gu; // zero-width and bidi characters: paypal.com with one inside still reads as a site
const DOTS = /[。．｡]/gu; // browsers take them for dots (UTS 46)

/**
 * The target's host (or mail address) if `text` names another site; null if it names none or the target itself.
 * A parent domain counts as the target itself: "example.com" for docs.example.com.
 * @param {string} text @param {URL} url
 */
export function targetBeside(text, url) {
  const target = url.protocol === "mailto:" ? url.pathname.split("@").at(-1).toLowerCase() : url.hostname;
  const named = [...text.normalize("NFKC").replace(INVISIBLE, "").replace(DOTS, ".").matchAll(SITE)].map(([, name]) => hostOf(name));
  const isOther = named.some((name) => name !== target && !target.endsWith(`.${name.replace(/^www\./, "")}`) && name !== `www.${target}`);
  if (!isOther) return null;
  return url.protocol === "mailto:" || url.protocol === "tel:" ? decodeURI(url.pathname) : url.host;
}

const hostOf = (name) => (URL.canParse(`https://${name}`) ? new URL(`https://${name}`).hostname : name.toLowerCase());
