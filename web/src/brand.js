// The stage's own looks and words (`page` in cdk.json): title, greeting, prompts, accent, logo, disclaimer, privacy policy.
import { h } from "./dom.js";
import { t } from "./texts.js";

const LOGO = "logo"; // the path that serves it

/** The brand of the page's configuration. Applies its color and its icon to the document. */
export function brandOf({ page: brand }) {
  if (brand.accent) {
    const { style } = document.documentElement;
    style.setProperty("--accent", `light-dark(${brand.accent}, ${lighter(brand.accent)})`);
  }
  if (brand.logo) document.querySelector('link[rel="icon"]').setAttribute("href", LOGO);
  return { ...brand, title: brand.title ?? t("title"), greeting: brand.greeting ?? t("greeting"), disclaimer: brand.disclaimer ?? t("disclaimer") };
}

/** An accent color for dark mode, where it must stand out from a dark background. */
export const lighter = (accent) => `#${[1, 3, 5].map((at) => (
  Math.round(parseInt(accent.slice(at, at + 2), 16) * 0.45 + 255 * 0.55).toString(16).padStart(2, "0"))).join("")}`;

export const logoOf = (brand) => brand.logo && h("img.logo", { src: LOGO, alt: "" });

/** What stands below the message box; null if there is nothing to say. */
export function footnoteOf({ disclaimer, privacy_url: url }) {
  if (!disclaimer && !url) return null;
  const link = url && h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, t("privacy_policy"));
  return h("p.footnote", {}, disclaimer, disclaimer && url ? " " : null, link);
}
