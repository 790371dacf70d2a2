// Creates DOM elements without HTML markup, so that text from people or models always stays text.

/**
 * h("button.icon", { "aria-label": "Copy", onclick }, icon("copy")): an element with classes, properties or attributes,
 * and children. `on...` are listeners; true, false and null set or leave out an attribute; strings become text.
 */
export function h(name, props = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked") element[key] = value;
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** An icon button with the accessible name `label`. */
export function iconButton(name, label, onclick, props = {}) {
  return h("button.icon", { type: "button", "aria-label": label, title: label, onclick, ...props }, icon(name));
}

/** The outline of `lines` lines of text that are loading, hidden from screen readers. */
export const skeleton = (lines) => h("div.skeleton", { "aria-hidden": "true" }, Array.from({ length: lines }, () => h("span")));

/** Whether a keydown event asks to send. Enter that ends an input method's conversion does not; Safari marks it as 229. */
export const isSend = ({ key, shiftKey, isComposing, keyCode }) => key === "Enter" && !shiftKey && !isComposing && keyCode !== 229;

/** Disable all controls in `root`. Returns a function that enables them again. */
export function disable(root) {
  const controls = [...root.querySelectorAll("button, input, select, textarea")].filter((control) => !control.disabled);
  for (const control of controls) control.disabled = true;
  return () => { for (const control of controls) control.disabled = false; };
}

/** An SVG icon from the set below, hidden from screen readers. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SIGNS[name] ?? SIGNS.dot);
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return svg;
}

const CIRCLE = "M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18z";
const SIGNS = {
  attach: "M20 11.5l-8.2 8.2a5 5 0 0 1-7.1-7.1l8.6-8.6a3.4 3.4 0 0 1 4.8 4.8l-8.5 8.5a1.7 1.7 0 0 1-2.4-2.4l7.8-7.8",
  check: "M5 12.5l4.5 4.5L19 7.5",
  "check-circle": `${CIRCLE}M8.5 12.2l2.5 2.5l4.7-5`,
  clock: `${CIRCLE}M12 7v5l3.5 2`,
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h10a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1V10a1 1 0 0 1 1-1zM16 9V4a1 1 0 0 0-1-1H5a1 1 0 0 0-1 1v10a1 1 0 0 0 1 1h3",
  document: "M7 3h7l5 5v12a1 1 0 0 1-1 1H7a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zM14 3v5h5M9 13h6M9 17h6",
  dot: "M12 10.5a1.5 1.5 0 1 0 0 3a1.5 1.5 0 0 0 0-3z",
  dots: "M5 12h.01M12 12h.01M19 12h.01",
  down: "M12 5v14M6 13l6 6l6-6",
  download: "M12 4v11M7 11l5 5l5-5M5 20h14",
  "external-link": "M14 4h6v6M20 4l-9 9M18 14v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1h5",
  globe: `${CIRCLE}M3 12h18M12 3c5 5 5 13 0 18c-5-5-5-13 0-18z`,
  info: `${CIRCLE}M12 11v5M12 8h.01`,
  lightbulb: "M9 18h6M10 21h4M12 3a6 6 0 0 0-3.6 10.8c.8.7 1.1 1.3 1.1 2.2h5c0-.9.3-1.5 1.1-2.2A6 6 0 0 0 12 3z",
  menu: "M4 7h16M4 12h16M4 17h16",
  microphone: "M12 4a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V7a3 3 0 0 0-3-3zM5.500 11.500a6.500 6.500 0 0 0 13 0M12 18v3",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  pencil: "M4 20l1-4.5L16.5 4a2 2 0 0 1 2.8 0l.7.7a2 2 0 0 1 0 2.8L8.5 19z",
  person: "M12 12a4 4 0 1 0 0-8a4 4 0 0 0 0 8zM4.5 20c1-3.5 4-5 7.5-5s6.5 1.5 7.5 5",
  plus: "M12 5v14M5 12h14",
  reload: "M20 11a8 8 0 1 0-2.3 6.5M20 5v6h-6",
  search: "M11 4a7 7 0 1 0 0 14a7 7 0 0 0 0-14zM16 16l4.5 4.5",
  send: "M12 19V5M6 11l6-6l6 6",
  sparkle: "M12 3l2 6.5l6.5 2.5l-6.5 2.5l-2 6.5l-2-6.5l-6.5-2.5l6.5-2.5z",
  star: "M12 4l2.5 5.3l5.800.7l-4.3 4l1.100 5.7L12 16.900l-5.100 2.800L8 14l-4.3-4l5.800-.7z",
  stop: "M8 8h8v8H8z",
  sun: "M12 8a4 4 0 1 0 0 8a4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5L19 19M5 19l1.5-1.5M17.5 6.5L19 5",
  "thumb-down": "M17 13V4M17 4h3v9h-3l-4 7a2.5 2.5 0 0 1-2.4-3l.6-3H6a2 2 0 0 1-2-2.3l1-6A2 2 0 0 1 7 4z",
  "thumb-up": "M7 11v9M7 20H4v-9h3l4-7a2.5 2.5 0 0 1 2.4 3l-.6 3H18a2 2 0 0 1 2 2.3l-1 6a2 2 0 0 1-2 1.7z",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v6M14 11v6",
  warning: "M12 4l9 16H3zM12 10v4M12 17h.01",
};
