// Dark or light: as the system says, until somebody chooses. The choice is no secret, so it stays (localStorage).

const KEY = "chat.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

/** "dark" or "light": what is on the screen. */
export const theme = () => document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");

export function setTheme(value) {
  document.documentElement.dataset.theme = value === "dark" ? "dark" : "light";
  localStorage.setItem(KEY, theme());
}

/** Call `then` when the system's colours change. */
export const onSystemTheme = (then) => dark.addEventListener("change", then);

const chosen = localStorage.getItem(KEY);
if (chosen) setTheme(chosen);
