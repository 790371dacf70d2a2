// ChatKit's widgets: a tree of components as JSON, drawn with our own style. What we do not know shows its children.
import { disable, h, icon } from "./dom.js";
import { picture } from "./pictures.js";
import { markdown } from "./tasks.js";
import { t } from "./texts.js";

const UNIT_PX = 4; // of ChatKit's spacing
const RADII = { none: "0", "2xs": "2px", xs: "4px", sm: "6px", md: "8px", lg: "10px", xl: "12px", "2xl": "16px", "3xl": "20px", "4xl": "24px", full: "9999px", "100%": "100%" };
const FLEX = { start: "flex-start", end: "flex-end", between: "space-between", around: "space-around", evenly: "space-evenly" };
const WEIGHTS = { normal: 400, medium: 500, semibold: 600, bold: 700 };
const SURFACES = { surface: "var(--raised)", "surface-secondary": "var(--soft)", "surface-tertiary": "var(--hover)", "surface-elevated": "var(--raised)", "surface-elevated-secondary": "var(--soft)" };
const COLORS = new Set(["prose", "primary", "emphasis", "secondary", "tertiary", "success", "warning", "danger"]);

/** The elements of a widget item. `act(action)` does what a button asks; it resolves when that is over. */
export function widget(item, { act }) {
  const root = h("div.widget");
  const perform = async (action, fields = {}) => {
    if (!action) return;
    const plain = action.payload !== null && typeof action.payload === "object" && !Array.isArray(action.payload);
    const payload = Object.keys(fields).length && (plain || action.payload == null) ? { ...action.payload, ...fields } : action.payload;
    if (action.handler === "client") {
      return root.dispatchEvent(new CustomEvent("chat-action", { bubbles: true, detail: { ...action, payload } }));
    }
    const { activeElement: pressed } = document;
    root.setAttribute("aria-busy", "true");
    const enable = disable(root);
    await act({ ...action, payload });
    root.removeAttribute("aria-busy");
    enable();
    if (document.activeElement === document.body) pressed.focus({ preventScroll: true }); // it was disabled
  };
  root.append(draw(item.widget, perform));
  for (const label of root.querySelectorAll("label[data-field]")) {
    const field = root.querySelector(`[name="${CSS.escape(label.dataset.field)}"]`);
    if (!field) continue;
    label.htmlFor = field.id = `${item.id}-${field.name}`;
    field.removeAttribute("aria-label"); // the label says it
  }
  return root;
}

function draw(one, perform) {
  const children = [one.children ?? []].flat();
  const element = (KINDS[one.type] ?? KINDS.Box)(one, perform, () => children.map((child) => draw(child, perform)));
  layout(element, one);
  return element;
}

const KINDS = {
  Card(one, perform, children) {
    const foot = ["cancel", "confirm"].map((role) => one[role] && h(role === "confirm" ? "button.primary" : "button.plain", {
      type: role === "confirm" && one.asForm ? "submit" : "button",
      onclick: role === "confirm" && one.asForm ? null : () => perform(one[role].action),
    }, one[role].label)).filter(Boolean);
    const body = [statusOf(one), h("div.col", {}, children()), foot.length ? h("div.bar", {}, foot) : null];
    return one.asForm ? formOf("form.card", one.confirm?.action, perform, body) : h("div.card", {}, body);
  },
  ListView: (one, perform, children) => {
    const most = typeof one.limit === "number" ? one.limit : Infinity;
    const rows = children();
    for (const row of rows.slice(most)) row.hidden = true;
    const more = h("button.link", { type: "button", onclick: () => { for (const row of rows) row.hidden = false; more.remove(); } }, t("show_more"));
    return h("div.card.list", {}, statusOf(one), rows, rows.length > most ? more : null);
  },
  ListViewItem: (one, perform, children) => (one.onClickAction
    ? h("button.row.item", { type: "button", onclick: () => perform(one.onClickAction) }, children()) : h("div.row.item", {}, children())),
  Box: (one, perform, children) => h(one.direction === "row" ? "div.row" : "div.col", {}, children()), // and what we do not know
  Basic: (one, perform, children) => h("div.col", {}, children()),
  Row: (one, perform, children) => h("div.row", {}, children()),
  Col: (one, perform, children) => h("div.col", {}, children()),
  Transition: (one, perform, children) => h("div", {}, children()), // which moves nothing
  Form: (one, perform, children) => formOf(one.direction === "row" ? "form.row" : "form.col", one.onSubmitAction, perform, children()),
  Text: (one) => (one.editable
    ? h("input.field", { name: one.editable.name, value: one.value, required: one.editable.required, placeholder: one.editable.placeholder, "aria-label": one.editable.name })
    : worded(h("p.text", { "data-size": one.size }, one.value), one)),
  Title: (one) => worded(h("h3.title", { "data-size": one.size }, one.value), one),
  Caption: (one) => worded(h("p.caption", { "data-size": one.size }, one.value), one),
  Markdown: (one) => markdown(one.value, !one.streaming),
  Badge: (one) => h("span.badge", { "data-color": one.color }, one.label),
  Divider({ size, color, spacing: space }) {
    const line = h("hr");
    Object.assign(line.style, { borderTopWidth: px(size), borderTopColor: colorOf(color), marginBlock: spacing(space) }); // CSS ignores undefined
    return line;
  },
  Spacer: () => h("span.space"),
  Icon: (one) => h("span.sign", {}, icon(one.name)),
  Image: (one) => picture(one.src, one.alt),
  Button: (one, perform) => h(one.style === "secondary" || one.variant === "outline" || one.variant === "ghost" ? "button.plain" : "button.primary", {
    type: one.submit ? "submit" : "button", disabled: one.disabled, "data-color": one.color, "aria-label": one.label ? null : one.iconStart,
    onclick: one.submit ? null : () => perform(one.onClickAction),
  }, one.iconStart && icon(one.iconStart), one.label, one.iconEnd && icon(one.iconEnd)),
  Input: (one) => h("input.field", { ...written(one), type: one.inputType ?? "text", pattern: one.pattern }),
  Textarea: (one) => h("textarea.field", { ...written(one), rows: one.rows ?? 3 }),
  Label: (one) => h("label.caption", { "data-field": one.fieldName }, one.value),
  Select: (one, perform) => h("select.field", { ...named(one), onchange: changed(one, perform) }, one.placeholder || one.clearable ? h("option", { value: "" }, one.placeholder ?? "") : null,
  one.options.map((option) => h("option", { value: option.value, disabled: option.disabled, selected: option.value === one.defaultValue }, option.label))),
  DatePicker: (one, perform) => h("input.field", {
    ...named(one), type: "date", value: day(one.defaultValue) ?? "", min: day(one.min), max: day(one.max), onchange: changed(one, perform),
  }),
  Checkbox: (one, perform) => h("label.option", {}, h("input", {
    type: "checkbox", name: one.name, checked: Boolean(one.defaultChecked), disabled: one.disabled, required: one.required,
    "aria-label": one.label ? null : one.name, onchange: changed(one, perform, (input) => input.checked),
  }), one.label && h("span", {}, one.label)),
  RadioGroup: (one, perform) => h(one.direction === "row" ? "div.row" : "div.col", { role: "radiogroup", "aria-label": one.ariaLabel ?? one.name },
    (one.options ?? []).map((option) => h("label.option", {}, h("input", {
      type: "radio", name: one.name, value: option.value, checked: option.value === one.defaultValue, required: one.required,
      disabled: one.disabled || option.disabled, onchange: changed(one, perform),
    }), h("span", {}, option.label)))),
  Table: (one, perform, children) => h("div.table", { tabindex: "0", role: "region", "aria-label": t("table") }, h("table", {}, h("tbody", {}, children()))),
  "Table.Row": (one, perform) => h("tr", {}, [one.children ?? []].flat().map((cell) => draw({ ...cell, header: one.header }, perform))),
  "Table.Cell": (one, perform, children) => h(one.header ? "th" : "td", { // `header` is its row's
    colspan: one.colSpan, rowspan: one.rowSpan, scope: one.header ? "col" : null,
    "data-align": one.align, "data-valign": one.vAlign,
  }, children()),
  Chart(one) { // its figures, as a table: what a chart shows is in them
    const columns = [{ dataKey: one.xAxis?.dataKey ?? one.xAxis }, ...one.series];
    return h("div.table", { tabindex: "0", role: "region", "aria-label": t("figures") }, h("table", {}, h("thead", {}, h("tr", {}, columns.map(({ label, dataKey }) => h("th", {}, label ?? dataKey)))),
      h("tbody", {}, one.data.map((row) => h("tr", {}, columns.map(({ dataKey }) => h("td", {}, String(row[dataKey] ?? ""))))))));
  },
};

const statusOf = ({ status }) => status && h("div.status", {},
  status.icon ? icon(status.icon) : status.favicon && h("span.favicon", {}, picture(status.favicon, "")), status.text);
const named = ({ name, disabled, placeholder }) => ({ name, disabled, "aria-label": placeholder ?? name });
const written = (one) => ({ ...named(one), value: one.defaultValue ?? "", required: one.required, placeholder: one.placeholder });
const day = (moment) => (moment ? String(moment).slice(0, 10) : null);

function changed(one, perform, valueOf = (input) => input.value) {
  return one.onChangeAction ? (event) => perform(one.onChangeAction, { [one.name]: valueOf(event.target) }) : null;
}

function formOf(name, action, perform, children) {
  return h(name, { onsubmit: (event) => {
    event.preventDefault();
    const fields = {};
    for (const control of event.target.elements) {
      if (!control.name || (control.type === "radio" && !control.checked)) continue;
      fields[control.name] = control.type === "checkbox" ? control.checked : control.value;
    }
    perform(action, fields);
  } }, children);
}

function worded(element, one) {
  const { style } = element;
  if (COLORS.has(one.color)) element.dataset.color = one.color;
  if (one.weight) style.fontWeight = WEIGHTS[one.weight];
  if (one.textAlign) style.textAlign = one.textAlign;
  if (one.italic) style.fontStyle = "italic";
  if (one.lineThrough) style.textDecoration = "line-through";
  if (one.minLines) style.minHeight = `${one.minLines}lh`;
  if (one.truncate) element.classList.add("truncate");
  else if (one.maxLines) Object.assign(style, { display: "-webkit-box", webkitBoxOrient: "vertical", webkitLineClamp: one.maxLines, overflow: "hidden" });
  return element;
}

function layout({ style }, one) {
  const set = (name, value) => { if (value != null) style[name] = value; };
  const isFlex = ["Box", "Row", "Col", "Form", "ListViewItem"].includes(one.type);
  const { flex, aspectRatio, fit: objectFit, position: objectPosition, align, justify, wrap: flexWrap } = one;
  const all = { gap: spacing(one.gap), flex, aspectRatio, borderRadius: RADII[one.radius], objectFit, objectPosition, backgroundColor: colorOf(one.background) };
  const flexed = isFlex && { alignItems: FLEX[align] ?? align, justifyContent: FLEX[justify] ?? justify, flexWrap };
  for (const [name, value] of Object.entries({ ...all, ...flexed })) set(name, value);
  if (!["Icon", "Divider"].includes(one.type)) for (const [size, sides] of Object.entries(SIZES)) for (const side of sides) set(side, px(one[side] ?? one[size])); // a word, such as "md", sets nothing
  for (const side of ["padding", "margin"]) {
    const value = one[side];
    if (value && typeof value === "object") for (const [at, names] of Object.entries(SIDES)) for (const name of names) set(side + name, spacing(value[at]));
    else set(side, spacing(value));
  }
  const { border } = one;
  const isOne = typeof border === "number" || border?.size !== undefined;
  if (border != null) for (const [at, names] of Object.entries(SIDES)) for (const name of names) set(`border${name}`, lineOf(isOne ? border : border[at]));
}

const SIZES = { size: ["width", "height"], minSize: ["minWidth", "minHeight"], maxSize: ["maxWidth", "maxHeight"] };
const SIDES = { x: ["Left", "Right"], y: ["Top", "Bottom"], top: ["Top"], right: ["Right"], bottom: ["Bottom"], left: ["Left"] };

/** A color of CSS or of ChatKit's surfaces, or one for light and one for dark. Other tokens of ChatKit's are left out. */
const colorOf = (color) => (color?.light ? `light-dark(${color.light}, ${color.dark})` : SURFACES[color] ?? color);

function lineOf(border) {
  if (border == null) return null;
  const { size, style = "solid", color = "var(--line)" } = typeof border === "number" ? { size: border } : border;
  return `${size}px ${style} ${colorOf(color)}`;
}

const px = (value) => (typeof value === "number" ? `${value}px` : value);
const spacing = (value) => (typeof value === "number" ? `${value * UNIT_PX}px` : value);
