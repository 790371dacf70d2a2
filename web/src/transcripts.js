// A thread as text for a download: JSON lines or Markdown. Pure: knows no page and no network.

const KINDS = {
  widget: "widget", workflow: "steps_done", task: "task_done", generated_image: "picture_by_assistant",
  structured_input: "questions", client_tool_call: "assistant_request",
};

/** The formats: `head` is the beginning of the file, `thread` one thread with its items. `t` has the texts. */
export function formats(t) {
  return {
    jsonl: {
      type: "application/jsonl",
      head: (count) => line({ kind: "download", created_at: new Date().toISOString(), threads: count, note: t("files_left_out") }),
      thread: ({ items: _, ...thread }, items, { name }) => {
        const at = name ? { assistant: name } : {};
        return line({ kind: "thread", id: thread.id, ...at, value: thread })
          + items.map((item) => line({ kind: "item", id: item.id, thread_id: thread.id, ...at, value: withoutLinks(item) })).join("");
      },
    },
    md: {
      type: "text/markdown",
      head: (count) => `# ${t("all_chats")}\n\n${t("chats_downloaded", { count })} ${time(new Date().toISOString())}\n\n${t("files_left_out")}\n`,
      thread: (thread, items, { label }) => {
        const about = [time(thread.created_at), label].filter(Boolean).join(" · ");
        return `\n## ${(thread.title || t("new_chat")).replace(/\s+/g, " ")}\n\n${about}\n${items.map((item) => markdownOf(item, t)).join("")}`;
      },
    },
  };
}

const wordsOf = ({ content }) => content.map(({ text }) => text ?? "").join("");
const line = (value) => `${JSON.stringify(value)}\n`;
const time = (created) => `${created.slice(0, 16).replace("T", " ")} UTC`;

/** Presigned links end soon, so they are left out. */
const withoutLinks = (item) => (item.attachments ? {
  ...item, attachments: item.attachments.map(({ preview_url: _, upload_descriptor: __, ...attachment }) => attachment),
} : item);

function markdownOf(item, t) {
  const head = (who) => `\n**${who}** · ${time(item.created_at)}\n\n`;
  const list = (name, values) => (values.length ? `\n${name}: ${values.join(", ")}\n` : "");
  if (item.type === "user_message") {
    const quoted = item.quoted_text ? `> ${item.quoted_text.replaceAll("\n", "\n> ")}\n\n` : "";
    return `${head(t("you"))}${quoted}${wordsOf(item)}\n${list(t("attached_files"), (item.attachments ?? []).map(({ name }) => name))}`;
  }
  if (item.type === "assistant_message") {
    const sources = item.content.flatMap(({ annotations }) => annotations ?? []).map(({ source }) => (
      source.url ? `<${source.url}>` : source.filename ?? source.title));
    return `${head(t("assistant"))}${wordsOf(item)}\n${list(t("sources"), [...new Set(sources)])}`;
  }
  return item.type in KINDS ? `\n*${t(KINDS[item.type])}*\n` : "";
}
