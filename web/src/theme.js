// The color theme: follows the system until the user chooses one, which localStorage keeps.

const KEY = "chat.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

/** The current theme, "dark" or "light". */
export const theme = () => document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");

export function setTheme(value) {
  document.documentElement.dataset.theme = value === "dark" ? "dark" : "light";
  localStorage.setItem(KEY, theme());
}

/** Call `then` when the system's theme changes. */
export const onSystemTheme = (then) => dark.addEventListener("change", then);

const chosen = localStorage.getItem(KEY);
if (chosen) setTheme(chosen);
