// Forms for which the assistant waits: structured input, and permission for tools that run in this page.
import { h, setDisabled } from "./dom.js";

const APPROVAL = "approval-"; // ids of the forms of lambda_src/runs/approvals.py begin with it

/** A structured input. Calls `send` with ChatKit's submission. */
export function structuredInput(item, { send, was }) {
  if (item.status !== "pending") return answered(item);
  if (was) return was; // half filled in
  if (item.id.startsWith(APPROVAL)) return approval(item, send);
  const form = h("form.questions", {
    "aria-label": "Questions of the assistant",
    onsubmit: (event) => {
      event.preventDefault();
      const answers = Object.fromEntries(item.inputs.map((input) => [input.id, answerTo(input, form)]));
      finish({ status: "answered", answers });
    },
  }, item.inputs.map((input) => (input.type === "freeform" ? freeform(input, item) : choice(input, item))),
  h("div.bar", {}, h("button.plain", { type: "button", onclick: () => finish({ status: "skipped", answers: {} }) }, "Skip"),
    h("button.primary", { type: "submit" }, "Answer")));
  const finish = (submission) => { send(submission); setDisabled(form, true); };
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
    setDisabled(form, true);
  };
  const form = h("form.questions", { "aria-label": "Permission for the assistant" }, item.inputs.map((input) => {
    const [question, ...details] = input.question.split("\n");
    const buttons = input.options.map((option, index) => h(index ? "button.plain" : "button.primary", {
      type: "button", "aria-pressed": "false", onclick: (event) => decide(input, option, event.currentTarget),
    }, option.value));
    return h("fieldset", {}, h("legend", {}, question),
      details.length ? h("pre.arguments", { tabindex: "0", "aria-label": "Arguments" }, details.join("\n")) : null,
      h("div.bar", {}, buttons.reverse()));
  }));
  return form;
}

const LONG_CHARS = 600; // a question this long may scroll, so the keyboard must reach it

const scrolling = (question) => (question.length > LONG_CHARS ? { tabindex: "0" } : {});

function choice(input, item) {
  const name = `${item.id}-${input.id}`;
  const type = input.multiple ? "checkbox" : "radio";
  const own = h("input.own", { type: "text", "aria-label": `Another answer to: ${input.question}`, placeholder: "Something else", name: `${name}-own` });
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
  h("dd", {}, input.answer?.values.length ? input.answer.values.join(", ") : "Skipped"))));

/** The client tools of this page. `run` resolves to the tool's result. */
export const TOOLS = {
  read_clipboard: {
    asks: "The assistant would like to read your clipboard.",
    run: async () => ({ text: await navigator.clipboard.readText() }),
  },
};

/** A client tool call, which runs only after the user has allowed it. */
export function toolCall(item, { send, was }) {
  if (item.status !== "pending") return null;
  if (was) return was;
  const tool = Object.hasOwn(TOOLS, item.name) ? TOOLS[item.name] : null;
  const finish = (result) => { setDisabled(row, true); send(result); };
  const allow = () => tool.run(item.arguments).then(finish, () => finish({ error: "The browser did not allow it." }));
  const refuse = () => finish({ error: tool ? "The user refused." : "This page has no such tool." });
  const row = h("div.ask", { role: "group", "aria-label": "A request of the assistant" },
    h("p", {}, tool?.asks ?? `The assistant asks this page for “${item.name}”, which it cannot do.`),
    h("div.bar", {}, h("button.plain", { type: "button", onclick: refuse }, tool ? "Refuse" : "Continue without it"),
      tool && h("button.primary", { type: "button", onclick: allow }, "Allow")));
  return row;
}
