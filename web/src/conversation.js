// The state of one thread and its running turn, visible or not. Knows the server's requests; knows no element.
import { fold, wordsOf } from "./fold.js";
import { t } from "./texts.js";

const PAGE = 50; // items in one request

/**
 * Dispatches CustomEvents: "items" with { ids } of changed items or { all: true }, plus { now: true } if the user waits
 * for the change; "state" when another property changed; "notice" and "effect" with ChatKit's event; "saved" when the
 * list of threads may have changed.
 */
export class Conversation extends EventTarget {
  items = new Map();
  thread = null; // ChatKit's metadata, once the server has created the thread
  running = null; // { stop } of the turn that is being read
  progress = null; // ChatKit's progress_update of that turn
  problem = null; // { error, again } of the last turn: `again` retries it
  held = null; // "waiting" for a person, or "person" while one has the thread
  before = null; // the cursor of earlier items, if there are any
  readOnly = false; // whether somebody else's thread is shown, in which only they rate, press and retry
  editing = null; // { id, text } of the message that the user is changing

  #api;
  #pending = 0;

  constructor(api, thread = null) {
    super();
    this.#api = api;
    this.thread = thread;
  }

  get id() { return this.thread?.id ?? null; }

  /** The text of a message that the server has not accepted. */
  get unsent() {
    return this.editing?.text ?? wordsOf([...this.items].find(([id]) => id.startsWith("pending-"))?.[1] ?? {});
  }

  /** Load the stored items and follow a running turn; rejects with a ChatError. */
  async load() {
    const [page, turnId] = await Promise.all([this.#page(null), this.#api.running(this.id)]);
    const followed = turnId || this.running;
    const whole = followed || page.at(-1)?.type === "assistant_message"; // else an answer may have ended between the two
    this.#before(whole ? page : await this.#page(null));
    if (turnId && !this.running) this.#run((options) => this.#api.follow(turnId, options), {});
  }

  async loadEarlier() { this.#before(await this.#page(this.before)); }

  /** Put loaded items before the present ones: a turn may have started while they were loading. */
  #before(page) {
    this.items = new Map([...page.map((item) => [item.id, item]), ...this.items]);
    this.#tell("items", { all: true });
  }

  async #page(after) {
    const page = await this.#api.call("items.list", { thread_id: this.id, limit: PAGE, order: "desc", after });
    this.before = page.has_more ? page.after : null;
    return page.data.reverse();
  }

  /** Add items that somebody else has written. */
  receive(items) { for (const item of items) this.#fold({ type: "thread.item.done", item }); }

  /** Who has the thread; what is stored about it may have changed when the assistant has it again. */
  async hold(held) {
    const was = this.held;
    this.#set({ held });
    if (!was || held) return;
    const { items, ...thread } = await this.#api.call("threads.get_by_id", { thread_id: this.id });
    this.#set({ thread });
  }

  /** Say something. `attachments` are ChatKit's, uploaded already; `options` are its inference options, such as `model`. */
  send(text, attachments = [], options = {}) {
    const item = this.#message(text, { attachments, inference_options: options });
    this.editing = null;
    const attempt = () => {
      this.items.set(item.id, item);
      this.#tell("items", { ids: [item.id], now: true });
      const input = inputOf(item);
      const [type, params] = this.id
        ? ["threads.add_user_message", { thread_id: this.id, input }] : ["threads.create", { input }];
      return this.#stream(type, params, { again: attempt, pending: item.id });
    };
    return attempt();
  }

  #message(text, rest) {
    const created_at = new Date().toISOString();
    return { ...rest, id: `pending-${++this.#pending}`, type: "user_message", created_at, content: [{ type: "input_text", text }] };
  }

  /** The user's last message, if it can be changed: it is stored, and no answer is being written. */
  get editable() {
    const last = this.running || this.held || (this.thread?.status?.type ?? "active") !== "active" ? null : this.askedBefore();
    return last && !last.id.startsWith("pending-") && last.content.every(({ type }) => type === "input_text") ? last : null;
  }

  /** Begin to change a message, or show what was written so far; null: leave it as it is. */
  edit(editing) {
    const ids = [this.editing?.id, editing?.id].filter(Boolean);
    this.editing = editing;
    this.#tell("items", { ids, now: true });
  }

  /** Send the message again with another text, in place of itself and its answer. If it is refused, nothing changes. */
  resend(old, text) {
    const item = this.#message(text, old);
    const before = this.items;
    const kept = [...before].slice(0, [...before.keys()].indexOf(old.id));
    this.items = new Map([...kept, [item.id, item]]);
    this.editing = null;
    this.#tell("items", { all: true, now: true });
    const undo = () => {
      this.items = before;
      this.editing = { id: old.id, text };
      this.#tell("items", { all: true });
    };
    const params = { thread_id: this.id, input: inputOf(item) };
    return this.#stream("threads.add_user_message", params, { pending: item.id, undo, metadata: { edited_item_id: old.id } });
  }

  /** The file of that name in this thread, if the user attached one. */
  fileNamed(name) {
    return [...this.items.values()].flatMap((item) => item.attachments ?? []).find((file) => file.name === name) ?? null;
  }

  /** A URL that opens an attached file, for some minutes. */
  fileUrl(file) { return this.#api.fileUrl(file.id); }

  /** Answer once more what the user said in `item`: what came after it is gone. */
  retry(item) {
    const ids = [...this.items.keys()];
    for (const id of ids.slice(ids.indexOf(item.id) + 1)) this.items.delete(id);
    this.#tell("items", { all: true });
    return this.#stream("threads.retry_after_item", { thread_id: this.id, item_id: item.id });
  }

  /** The last thing that the user said, before `item` if one is given. */
  askedBefore(item = null) {
    const items = [...this.items.values()];
    const end = item ? items.indexOf(item) : items.length;
    return items.slice(0, end).findLast((one) => one.type === "user_message") ?? null;
  }

  answerTool(item, result) {
    this.#fold({ type: "thread.item.replaced", item: { ...item, status: "completed", output: result } }); // no event says so
    return this.#stream("threads.add_client_tool_output", { thread_id: this.id, result });
  }

  answerForm(item, input) {
    return this.#stream("threads.add_structured_input", { thread_id: this.id, item_id: item.id, input });
  }

  async act(action, item) {
    const params = { thread_id: this.id, item_id: item.id, action: { type: action.type, payload: action.payload } };
    if (action.streaming !== false) return this.#stream("threads.custom_action", params);
    try {
      const { updated_item: updated } = await this.#api.call("threads.sync_custom_action", params);
      if (updated) this.#fold({ type: "thread.item.replaced", item: updated });
    } catch (error) {
      this.fail(error, () => this.act(action, item));
    }
  }

  rate(item, kind) {
    return this.#api.call("items.feedback", { thread_id: this.id, item_ids: [item.id], kind });
  }

  stop() { this.running?.stop(); }

  #stream(type, params, { again = () => this.#stream(type, params), metadata, ...rest } = {}) {
    return this.#run((options) => this.#api.stream(type, params, { ...options, metadata }), { again, ...rest });
  }

  /**
   * Read one turn to its end. If a second one starts, the server supersedes the first, and we read only the newest.
   * `undo` takes back the message `pending` if the server does not accept it.
   */
  async #run(read, { again = null, pending = null, undo = null }) {
    const abort = new AbortController();
    const running = { stop: () => abort.abort() }; // chat-client.js tells the server
    this.#set({ running, problem: null, progress: null });
    const onEvent = (event) => {
      if (pending && event.type === "thread.item.done" && event.item.type === "user_message") {
        this.#confirm(pending, event.item);
        pending = null;
      } else this.#take(event);
    };
    const onBreak = () => this.#set({ progress: { text: t("reconnecting") } });
    try {
      await read({ signal: abort.signal, onEvent, onBreak });
    } catch (error) {
      const refused = error.status >= 400 && error.status < 500; // the server started nothing
      const repeat = pending ? undo ? null : () => { this.items.delete(pending); return again(); } : refused ? again : () => this.reload();
      if (pending) undo?.(); // the text is in the box again, to be changed or sent
      if (!abort.signal.aborted) this.fail(error, repeat);
    }
    if (this.running !== running) return;
    this.#set({ running: null, progress: null });
    this.#tell("saved");
  }

  /** Recover from a broken turn: show what is stored, and retry only if the last message has no answer. */
  async reload() {
    this.problem = null;
    try {
      this.items.clear();
      await this.load();
      const last = [...this.items.values()].at(-1);
      if (!this.running && !this.held && last?.type === "user_message") await this.retry(last);
    } catch (error) {
      this.fail(error, () => this.reload());
    }
    this.#tell("state");
  }

  #take(event) {
    switch (event.type) {
      case "thread.created": case "thread.updated": {
        const { items, ...thread } = event.thread;
        this.#set({ thread });
        this.#tell("saved");
        break;
      }
      case "error": {
        const again = event.allow_retry && this.askedBefore() ? () => this.retry(this.askedBefore()) : null;
        this.fail(new Error(event.message ?? t("went_wrong")), again);
        break;
      }
      case "progress_update": this.#set({ progress: event }); break;
      case "notice": this.#tell("notice", event); break;
      case "client_effect": this.#tell("effect", event); break;
      default: this.#fold(event);
    }
  }

  #fold(event) {
    const id = fold(this.items, event);
    if (id === null) return;
    if (this.progress && event.type === "thread.item.added") this.#set({ progress: null });
    this.#tell("items", { ids: [id] });
  }

  /** Replace the message that we showed optimistically with the stored one. */
  #confirm(pending, item) {
    this.items = new Map([...this.items].map(([id, one]) => (id === pending ? [item.id, item] : [id, one])));
    this.#tell("items", { ids: [item.id], renamed: [pending, item.id] });
  }

  /** Show an error; `again` retries. */
  fail(error, again) { this.#set({ problem: { error, again } }); }

  #set(state) {
    Object.assign(this, state);
    this.#tell("state");
  }

  #tell(type, detail = {}) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}

const inputOf = ({ content, attachments, quoted_text, inference_options }) => (
  { content, attachments: attachments.map(({ id }) => id), quoted_text, inference_options });
