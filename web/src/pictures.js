// Pictures in widgets and answers. Loading one tells its server who reads and when, so a picture is shown only if the
// stage allows its domain (CHAT_ALLOWED_IMAGE_DOMAINS; the page's policy agrees), and is a link otherwise.
import { h } from "./dom.js";
import { linkTo } from "./markdown.js";
import { t } from "./texts.js";

const INSIDE = /^data:image\/(png|jpe?g|gif|webp);/i;
let shown = [];

/** Allow `origins`, written as in the policy: https://images.example.com, https://*.example.com. */
export function showPicturesOf(origins) { shown = [location.origin, ...origins]; }

/** @returns {HTMLElement} */
export function picture(src, alt) {
  const url = URL.canParse(src) ? new URL(src) : null;
  if (INSIDE.test(src) || shown.some((origin) => isOf(url, origin))) return h("img", { src, alt: alt ?? "", loading: "lazy" });
  const name = alt || t("picture");
  return h("span", {}, linkTo({ href: src, raw: name }, name));
}

function isOf(url, origin) {
  const [scheme, domain] = origin.split("*"); // https:// and .example.com; no domain if there is no wildcard
  return domain === undefined ? url?.origin === origin : url?.protocol === "https:" && !url.port && url.hostname.endsWith(domain);
}
