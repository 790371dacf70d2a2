// The question before an action that cannot be undone.
import { h } from "./dom.js";
import { t } from "./texts.js";

/** Ask; resolves to whether the user agrees. Escape resolves to false. */
export function confirmed(question, consequence, label) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "question", "aria-describedby": "consequence", onclose: () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    } }, h("form", { method: "dialog" }, h("h2", { id: "question" }, question), h("p", { id: "consequence" }, consequence),
      h("div.bar", {}, h("button.plain", { value: "no" }, t("cancel")), h("button.danger", { value: "yes" }, label))));
    document.body.append(dialog);
    dialog.showModal();
  });
}
