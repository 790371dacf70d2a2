// The box in which the user changes a message that was sent. Does not know what happens to it.
import { h, isSend } from "./dom.js";
import { t } from "./texts.js";

/** A form with `text`; the message `was` different or not. Calls `write` with each change, and `send` or `cancel` at the end. */
export function editor(text, { was, write, send, cancel }) {
  const submit = () => {
    const changed = box.value.trim();
    if (changed && changed !== was) send(changed);
    else if (changed) cancel();
  };
  const box = h("textarea", {
    value: text, rows: 2, "aria-label": t("edited_text"), "aria-describedby": "editor-hint", enterkeyhint: "send",
    oninput: () => write(box.value),
    onkeydown: (event) => {
      if (event.key === "Escape") {
        event.stopPropagation(); // it closes nothing else
        cancel();
      }
      if (!isSend(event)) return;
      event.preventDefault();
      submit();
    },
  });
  return h("form.editor", { onsubmit: (event) => { event.preventDefault(); submit(); } }, box,
    h("div.bar", {}, h("p.detail", { id: "editor-hint" }, t("answer_replaced")),
      h("button.plain", { type: "button", onclick: cancel }, t("cancel")), h("button.primary", { type: "submit" }, t("send"))));
}
