// Our own client: chats without the network, without any other's script.
import { chatFetch } from "./chat-client.js";

export function startOwn({ session }) {
const endpoint = new URL("chatkit", location.href).href;
const send = chatFetch({ url: endpoint, getToken: session.getToken });
const at = (id) => document.getElementById(id);
const items = at("items"), text = at("text"), button = at("send");
let threadId = null;

let running = null; // the AbortController of the turn that streams

async function post(type, params, signal) {
  const headers = { "content-type": "application/json" };
  const answer = await send(endpoint, { method: "POST", headers, body: JSON.stringify({ type, params }), signal });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.message ?? `The server answered ${answer.status}.`);
}

async function* events(answer) {
  let rest = "";
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + chunk).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks)
      for (const line of block.split("\n")) if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
  }
}

function show(kind, content, id) {
  const box = document.createElement("div");
  box.className = kind;
  box.textContent = content;
  if (id) box.dataset.id = id;
  items.append(box);
  box.scrollIntoView({ block: "end" });
  return box;
}

const wordsOf = (item) => (item.content ?? []).map((part) => part.text ?? "").join("");
const boxOf = (id) => items.querySelector(`[data-id="${CSS.escape(id)}"]`);

function take(event) {
  switch (event.type) {
    case "thread.created": threadId = event.thread.id; break;
    case "thread.updated": listThreads(); break;
    case "thread.item.added":
      if (event.item.type === "assistant_message") show("assistant", wordsOf(event.item), event.item.id);
      break;
    case "thread.item.updated":
      if (event.update.type === "assistant_message.content_part.text_delta") {
        const box = boxOf(event.item_id);
        box.append(event.update.delta);
        box.scrollIntoView({ block: "end" });
      }
      break;
    case "thread.item.done":
      if (event.item.type === "assistant_message")
        (boxOf(event.item.id) ?? show("assistant", "", event.item.id)).textContent = wordsOf(event.item);
      break;
    case "error": case "notice": show("problem", event.message ?? "Something went wrong. Try again."); break;
  }
}

async function say(words) {
  show("user", words);
  running = new AbortController();
  button.textContent = "Stop";
  const input = { content: [{ type: "input_text", text: words }], attachments: [], inference_options: {} };
  try {
    const answer = threadId
      ? await post("threads.add_user_message", { thread_id: threadId, input }, running.signal)
      : await post("threads.create", { input }, running.signal);
    for await (const event of events(answer)) take(event);
  } catch (error) {
    if (!running.signal.aborted) show("problem", error.message);
  }
  running = null;
  button.textContent = "Send";
  text.focus();
  listThreads();
}

async function listThreads() {
  try {
    const page = await (await post("threads.list", { limit: 50 })).json();
    at("threads").replaceChildren(...page.data.map((thread) => {
      const button = document.createElement("button");
      button.textContent = thread.title ?? "New chat";
      if (thread.id === threadId) button.setAttribute("aria-current", "true");
      button.onclick = () => open(thread.id);
      return button;
    }));
  } catch (error) {
    at("threads").replaceChildren(Object.assign(document.createElement("p"), { className: "problem", textContent: error.message }));
  }
}

async function open(id) {
  threadId = id;
  items.replaceChildren();
  try {
    const page = await (await post("items.list", { thread_id: id, limit: 100, order: "desc" })).json();
    for (const item of page.data.reverse()) {
      if (item.type === "user_message") show("user", wordsOf(item), item.id);
      if (item.type === "assistant_message") show("assistant", wordsOf(item), item.id);
    }
  } catch (error) {
    show("problem", error.message);
  }
  listThreads();
}

at("form").onsubmit = (submit) => {
  submit.preventDefault();
  if (running) return running.abort();
  const words = text.value.trim();
  if (!words) return;
  text.value = "";
  say(words);
};
text.onkeydown = (key) => {
  if (key.key === "Enter" && !key.shiftKey && !key.isComposing) { key.preventDefault(); if (!running) at("form").requestSubmit(); }
};
at("new").onclick = () => { threadId = null; items.replaceChildren(); listThreads(); text.focus(); };
listThreads();
}
