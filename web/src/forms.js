// Forms for which the assistant waits: structured input, and permission for tools that run in this page.
import { disable, h } from "./dom.js";
import { t } from "./texts.js";

const APPROVAL = "approval-"; // ids of the forms of lambda_src/runs/approvals.py begin with it

/** A structured input. Calls `send` with ChatKit's submission. */
export function structuredInput(item, { send, was }) {
  if (item.status !== "pending") return answered(item);
  if (was) return was; // half filled in
  if (item.id.startsWith(APPROVAL)) return approval(item, send);
  const form = h("form.questions", {
    "aria-label": t("questions"),
    onsubmit: (event) => {
      event.preventDefault();
      const answers = Object.fromEntries(item.inputs.map((input) => [input.id, answerTo(input, form)]));
      finish({ status: "answered", answers });
    },
  }, item.inputs.map((input) => (input.type === "freeform" ? freeform(input, item) : choice(input, item))),
  h("div.bar", {}, h("button.plain", { type: "button", onclick: () => finish({ status: "skipped", answers: {} }) }, t("skip_questions")),
    h("button.primary", { type: "submit" }, t("answer"))));
  const finish = (submission) => { send(submission); disable(form); };
  return form;
}

/** Tool calls that wait for the user: two buttons for each. The answers are sent once every call has one. */
function approval(item, send) {
  const answers = {};
  const decide = (input, { value }, button) => {
    answers[input.id] = { values: [value], skipped: false };
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
    if (!item.inputs.every(({ id }) => answers[id])) return;
    send({ status: "answered", answers });
    disable(form);
  };
  const form = h("form.questions", { "aria-label": t("permission") }, item.inputs.map((input) => {
    const [question, ...details] = input.question.split("\n");
    const buttons = input.options.map((option, index) => h(index ? "button.plain" : "button.primary", {
      type: "button", "aria-pressed": "false", onclick: (event) => decide(input, option, event.currentTarget),
    }, option.value));
    return h("fieldset", {}, h("legend", {}, question),
      details.length ? h("pre.arguments", { tabindex: "0", "aria-label": t("arguments") }, details.join("\n")) : null,
      h("div.bar", {}, buttons.reverse()));
  }));
  return form;
}

const LONG_CHARS = 600; // a question this long may scroll, so the keyboard must reach it

const scrolling = (question) => (question.length > LONG_CHARS ? { tabindex: "0" } : {});

function choice(input, item) {
  const name = `${item.id}-${input.id}`;
  const type = input.multiple ? "checkbox" : "radio";
  const own = h("input.own", { type: "text", "aria-label": t("another_answer", input), placeholder: t("something_else"), name: `${name}-own` });
  return h("fieldset", {}, h("legend", scrolling(input.question), input.question),
    input.options.map(({ value }) => h("label.option", {}, h("input", { type, name, value }), h("span", {}, value))), own);
}

const freeform = (input, item) => h("label.question", {}, h("span.legend", scrolling(input.question), input.question),
  input.description ? h("span.detail", {}, input.description) : null,
  h("textarea", { rows: 2, name: `${item.id}-${input.id}` }));

function answerTo(input, form) {
  const controls = [...form.elements].filter((one) => one.name?.endsWith(`-${input.id}`) || one.name?.endsWith(`-${input.id}-own`));
  const values = controls.filter((one) => (["radio", "checkbox"].includes(one.type) ? one.checked : one.value.trim())).map((one) => one.value.trim());
  return { values, skipped: values.length === 0 };
}

const answered = (item) => h("dl.answers", {}, item.inputs.map((input) => h("div", {}, h("dt", scrolling(input.question), input.question),
  h("dd", {}, input.answer?.values.length ? input.answer.values.join(", ") : t("skipped")))));

/** The client tools of this page. `run` resolves to the tool's result. */
export const TOOLS = {
  read_clipboard: {
    request: "clipboard_request", // its text
    run: async () => ({ text: await navigator.clipboard.readText() }),
  },
};

/** A client tool call, which runs only after the user has allowed it. */
export function toolCall(item, { send, was }) {
  if (item.status !== "pending") return null;
  if (was) return was;
  const tool = Object.hasOwn(TOOLS, item.name) ? TOOLS[item.name] : null;
  const finish = (result) => { disable(row); send(result); };
  const allow = () => tool.run(item.arguments).then(finish, () => finish({ error: "The browser did not allow it." }));
  const refuse = () => finish({ error: tool ? "The user refused." : "This page has no such tool." });
  const row = h("div.ask", { role: "group", "aria-label": t("assistant_request") },
    h("p", {}, tool ? t(tool.request) : t("unknown_tool", item)),
    h("div.bar", {}, h("button.plain", { type: "button", onclick: refuse }, t(tool ? "refuse" : "continue_without")),
      tool && h("button.primary", { type: "button", onclick: allow }, t("allow"))));
  return row;
}
