// The controls for what each user prefers: the language and the colors.
import { h, icon, iconButton } from "./dom.js";
import { chooseLanguage, currentLanguage, t } from "./texts.js";
import { onSystemTheme, setTheme, theme } from "./theme.js";

/** A choice of language; null if there is only one. */
export function languagePicker(languages) {
  const codes = Object.keys(languages);
  if (codes.length < 2) return null;
  return h("select.models", { "aria-label": t("language"), onchange: ({ target }) => chooseLanguage(target.value) },
    codes.map((code) => h("option", { value: code, lang: code, selected: code === currentLanguage() }, languages[code])));
}

/** The button that switches between light and dark; its `draw` shows a change that something else made. */
export function themeButton() {
  const button = iconButton("moon", t("dark_colors"), () => { setTheme(theme() === "dark" ? "light" : "dark"); button.draw(); });
  button.draw = () => {
    button.replaceChildren(icon(theme() === "dark" ? "sun" : "moon"));
    button.setAttribute("aria-label", (button.title = t(theme() === "dark" ? "light_colors" : "dark_colors")));
  };
  onSystemTheme(button.draw);
  button.draw();
  return button;
}
