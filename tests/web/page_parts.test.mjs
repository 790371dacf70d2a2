// Parts of our own client that need no browser: folding events, streaming Markdown, links. Run by test_chat_client.py.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Blocks, tokensOf } from "../../web/src/blocks.js";
import { fold } from "../../web/src/fold.js";
import { targetBeside } from "../../web/src/links.js";
import { newsOf } from "../../web/src/people.js";
import { formats } from "../../web/src/transcripts.js";

/** A seeded random number generator (mulberry32). */
function dice(seed) {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const PIECES = [
  "# A title\n\n", "Some *words* and **more**, `code` too.\n\n", "- one\n- two\n\n  still two\n- three\n\n", "1. first\n2. second\n\n",
  "```js\nconst a = 1;\n\nreturn a;\n```\n\n", "| a | b |\n|---|---|\n| 1 | 2 |\n\n", "> quoted\n> twice\n\n", "---\n\n",
  "A line\nthat goes on\n\n", "- [ ] to do\n- [x] done\n\n", "Title\n=====\n\n", "    indented code\n\n", "~~gone~~ https://example.com\n\n",
  "<b>raw</b>\n\n", "![a](https://x.test/a.png)\n\n", "* a\n  * b\n    * c\n\n", "```\nnever closed\n", "a\\\nb\n\n",
];

/** The rendered part of tokens, without their positions in the text. */
const shape = (tokens) => JSON.stringify(tokens.filter((token) => token.type !== "space"), (key, value) => (key === "raw" ? undefined : value));

test("text that arrives in any pieces gives the same blocks as the complete text", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const roll = dice(seed);
    const text = Array.from({ length: 1 + roll(8) }, () => PIECES[roll(PIECES.length)]).join("");
    const blocks = new Blocks();
    const settled = [];
    for (let at = 0; at < text.length; ) {
      at += 1 + roll(9);
      settled.push(...blocks.take(text.slice(0, at)).settled);
    }
    settled.push(...blocks.take(text, { ended: true }).settled);
    assert.equal(shape(settled), shape(tokensOf(text)), `seed ${seed}: ${JSON.stringify(text)}`);
  }
});

test("settled blocks stay, and only the last block is parsed again", () => {
  const blocks = new Blocks();
  assert.deepEqual(blocks.take("One").settled, []);
  assert.deepEqual(blocks.take("One\n\nTw").settled.map((token) => token.raw), ["One"]);
  assert.equal(blocks.take("One\n\nTwo").tail.raw, "Two");
});

const message = (id, ...texts) => ({ id, type: "assistant_message", content: texts.map((text) => ({ type: "output_text", text, annotations: [] })) });
const delta = (id, text) => ({ type: "thread.item.updated", item_id: id, update: { type: "assistant_message.content_part.text_delta", content_index: 0, delta: text } });

test("deltas are concatenated, and replaying the events gives the same result", () => {
  const events = [{ type: "thread.item.added", item: () => message("a") }, delta("a", "He"), delta("a", "llo")];
  const items = new Map();
  for (let times = 0; times < 2; times++)
    for (const event of events) fold(items, event.item ? { ...event, item: event.item() } : event);
  assert.equal(items.get("a").content[0].text, "Hello");
});

test("a replaced item keeps its place, and a removed item is gone", () => {
  const items = new Map();
  for (const id of ["a", "b", "c"]) fold(items, { type: "thread.item.done", item: message(id) });
  fold(items, { type: "thread.item.replaced", item: message("a", "new") });
  assert.equal(fold(items, { type: "thread.item.removed", item_id: "b" }), "b");
  assert.deepEqual([...items.keys()], ["a", "c"]);
  assert.equal(items.get("a").content[0].text, "new");
});

test("an update of an unknown item changes nothing", () => {
  assert.equal(fold(new Map(), delta("a", "x")), null);
});

test("streamed text of a widget is appended at any depth", () => {
  const items = new Map();
  const tree = { type: "Card", children: [{ type: "Row", children: { type: "Text", id: "t", value: "a" } }] };
  fold(items, { type: "thread.item.added", item: { id: "w", type: "widget", widget: tree } });
  fold(items, { type: "thread.item.updated", item_id: "w", update: { type: "widget.streaming_text.value_delta", component_id: "t", delta: "b", done: true } });
  assert.deepEqual(items.get("w").widget.children[0].children, { type: "Text", id: "t", value: "ab", streaming: false });
  assert.equal(tree.children[0].children.value, "a", "the rendered tree must not be mutated");
});

test("every other update is applied to its item", () => {
  const items = new Map();
  const update = (id, change) => fold(items, { type: "thread.item.updated", item_id: id, update: change });
  fold(items, { type: "thread.item.added", item: { id: "f", type: "workflow", workflow: { type: "custom", tasks: [] } } });
  update("f", { type: "workflow.task.added", task_index: 0, task: { title: "a" } });
  update("f", { type: "workflow.task.updated", task_index: 0, task: { title: "b" } });
  assert.deepEqual(items.get("f").workflow.tasks, [{ title: "b" }]);
  fold(items, { type: "thread.item.added", item: { id: "g", type: "generated_image", image: null } });
  update("g", { type: "generated_image.updated", image: { id: "i", url: "u" }, progress: 0.5 });
  assert.deepEqual([items.get("g").image.url, items.get("g").progress], ["u", 0.5]);
  fold(items, { type: "thread.item.added", item: message("m", "said") });
  update("m", { type: "assistant_message.content_part.annotation_added", content_index: 0, annotation_index: 0, annotation: { index: 1 } });
  assert.equal(items.get("m").content[0].annotations.length, 1);
});

for (const [text, target, beside] of [
  ["https://bank.example/login", "https://evil.test/", "evil.test"],
  ["bank.example", "https://evil.test:8443/bank.example", "evil.test:8443"],
  ["Log in at BANK.example now", "https://evil.test/", "evil.test"],
  ["https://bank.example@evil.test/", "https://evil.test/", "evil.test"],
  ["evil.test, formerly bank.example", "https://evil.test/", "evil.test"],
  ["bank.example", "https://bank.example.evil.test/", "bank.example.evil.test"],
  ["bank.example", "https://mybank.example/", "mybank.example"],
  ["ban\u200bk.exa\u202emple", "https://evil.test/", "evil.test"],
  ["ｂａｎｋ.example", "https://evil.test/", "evil.test"],
  ["bank。example", "https://evil.test/", "evil.test"],
  ["bank.example", "https://b\u0430nk.example/", "xn--bnk-6cd.example"],
  ["help@bank.example", "mailto:help@evil.test", "help@evil.test"],
  ["bank.example", "mailto:a@evil.test?subject=bank.example", "a@evil.test"],
  ["bank.example", "tel:+15550100", "+15550100"],
]) {
  test(`a link with text ${JSON.stringify(text)} and target ${target} shows its target`, () => {
    assert.equal(targetBeside(text, new URL(target)), beside);
  });
}

for (const [text, target] of [
  ["our docs", "https://evil.test/"],
  ["https://example.com/a?b=c.d#e", "https://example.com/a?b=c.d#e"],
  ["example.com", "https://www.example.com/"],
  ["www.example.com", "https://example.com/"],
  ["example.com", "https://docs.example.com/page"],
  ["www.example.com", "https://docs.example.com/page"],
  ["EXAMPLE.com:8080/readme.md", "https://example.com:8080/readme.md"],
  ["b\u00fccher.example", "https://xn--bcher-kva.example/"],
  ["help@example.com", "mailto:help@example.com"],
  ["version 1.2.3", "https://example.com/"],
  ["Wait...", "https://example.com/"],
]) {
  test(`a link with text ${JSON.stringify(text)} and target ${target} is unchanged`, () => {
    assert.equal(targetBeside(text, new URL(target)), null);
  });
}

const ENGLISH = JSON.parse(readFileSync(new URL("../../lambda_src/languages/en.json", import.meta.url))).page;
const FORMATS = formats((key) => ENGLISH[key]);
const AT = { created_at: "2026-01-02T03:04:05.678901Z", thread_id: "thr_1" };
const THREAD = { id: "thr_1", title: "Two\nlines", created_at: AT.created_at, status: { type: "active" }, items: { data: [] } };
const FILE = { id: "atc_1", name: "plan.pdf", mime_type: "application/pdf", type: "file", preview_url: "https://s3.test/?signature" };
const SAID = { ...AT, id: "msg_1", type: "user_message", content: [{ type: "input_text", text: "See this" }], attachments: [FILE], quoted_text: "a\nb" };
const SOURCES = [{ source: { type: "url", url: "https://a.test/", title: "A" } }, { source: { type: "file", filename: "b.pdf", title: "B" } }];
const ANSWER = { ...AT, id: "msg_2", type: "assistant_message", content: [{ type: "output_text", text: "I **see**.", annotations: SOURCES }] };
const WIDGET = { ...AT, id: "wid_1", type: "widget", widget: { type: "Card" } };

test("a thread as Markdown names its files, sources and widgets", () => {
  const text = FORMATS.md.thread(THREAD, [SAID, ANSWER, WIDGET, { ...AT, id: "x", type: "end_of_turn" }], { name: "sales", label: "Sales" });
  assert.equal(text, `
## Two lines

2026-01-02 03:04 UTC · Sales

**You** · 2026-01-02 03:04 UTC

> a
> b

See this

Attached files: plan.pdf

**Assistant** · 2026-01-02 03:04 UTC

I **see**.

Sources: <https://a.test/>, b.pdf

*Widget*
`);
});

test("a thread as JSON lines has a record for itself and for each item, without links that end", () => {
  const records = FORMATS.jsonl.thread(THREAD, [SAID, WIDGET], { name: "sales" }).trim().split("\n").map((line) => JSON.parse(line));
  const { items: _, ...thread } = THREAD;
  assert.deepEqual(records[0], { kind: "thread", id: "thr_1", assistant: "sales", value: thread });
  assert.deepEqual(records[1].value.attachments, [{ id: "atc_1", name: "plan.pdf", mime_type: "application/pdf", type: "file" }]);
  assert.deepEqual(records[2], { kind: "item", id: "wid_1", thread_id: "thr_1", assistant: "sales", value: WIDGET });
});

test("a message in a held thread is listed although it is dated a minute back, before a newer one", async (context) => {
  context.mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  const stored = [{ id: "first" }];
  const items = new Map([["first", stored[0]]]);
  const conversation = { id: "thr", items, receive: (news) => { for (const item of news) items.set(item.id, item); } };
  const api = { call: async (_, { after }) => ({ data: stored.slice(stored.findIndex(({ id }) => id === after) + 1) }) };
  const news = newsOf(api, conversation);
  assert.equal(await news(), false);
  context.mock.timers.tick(10_000);
  stored.push({ id: "users" });
  items.set("users", stored[1]);
  for (let looks = 0; looks < 25; looks++) {
    context.mock.timers.tick(2_000);
    assert.equal(await news(), false);
  }
  stored.splice(1, 0, { id: "nobody-came" }); // by the operators' clock
  assert.equal(await news(), true);
  assert.ok(items.has("nobody-came"));
});
