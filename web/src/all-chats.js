// "All my chats": download them or delete them all. Loaded when it is needed. A job continues after a reload or a break
// of the connection: sessionStorage keeps how far it is, parts.js what was downloaded.
// Imports no module of the first visit: esbuild would move it into a chunk, which would be a third request of that visit.
import { partsOf } from "./parts.js";
import { formats } from "./transcripts.js";

const JOB = "chat.job"; // as in own.js, which looks for it before it loads this module
const PAGE = 100; // threads or items in one request, the server's maximum
const AT_ONCE = 4; // threads that are read or deleted at the same time
const PAUSES_MS = [1000, 2000, 4000, 8000, 15_000, 30_000]; // before the next try; the last one repeats
const MOST_PAUSE_S = 300; // of Retry-After; after a longer one, the user decides

/**
 * @param {{ h: any, confirmed: any, pause: any, t: any }} parts  of the page: creates elements, asks, waits, has the texts
 * @param {{ assistants: { api: any, assistant: any }[], place: HTMLElement, person: () => string, onGone: (ids: string[]) => void,
 *   refresh: () => void, say: (notice: any) => void }} where  `place` shows the progress; `person` returns whose chats they are; `onGone` gets deleted threads
 */
export function allChats({ h, confirmed, pause, t }, { assistants, place, person, onGone, refresh, say }) {
  let abort = new AbortController();
  const texts = formats(t);
  let next = null; // continues a job that has stopped

  /** Ask what to do with all chats, and begin it. */
  async function ask() {
    if (!place.hidden) return place.querySelector("button:not([hidden])").focus();
    const counting = new AbortController();
    const status = h("p", { role: "status" }, t("counting", { count: 0 }));
    const choice = (label, value, kind = "plain") => h(`button.${kind}`, { value, disabled: true }, label);
    const choices = [choice(t("download_markdown"), "md"), choice(t("download_jsonl"), "jsonl"), choice(t("delete_all"), "delete", "plain.remove")];
    const dialog = h("dialog.all-chats", { "aria-labelledby": "all-chats", onclose: () => { counting.abort(); dialog.remove(); } },
      h("form", { method: "dialog" }, h("h2", { id: "all-chats" }, t("all_chats")), status, h("div.choices", {}, choices),
        h("div.bar", {}, h("button.plain", { value: "" }, t("cancel")))));
    document.body.append(dialog);
    dialog.showModal();
    const closed = new Promise((resolve) => { dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }); });
    const found = await counted(counting.signal, (text) => { status.textContent = text; })
      .catch((error) => { if (!counting.signal.aborted) status.textContent = error.message; return null; });
    if (found) {
      status.textContent = t("chat_count", { count: found.total });
      for (const button of choices) button.disabled = !found.total;
    }
    const kind = await closed;
    if (!kind || !found) return;
    const count = found.total;
    if (kind === "delete" && !(await confirmed(t("delete_all_question", { count }), t(count === 1 ? "delete_consequence" : "delete_all_consequence"), t("delete")))) return;
    await run({ id: Date.now(), kind, person: person(), ...found, done: 0, at: 0, after: null });
  }

  /** Continue the job of this tab, if it is the same user's. */
  async function resume() {
    const job = JSON.parse(sessionStorage.getItem(JOB) ?? "null");
    if (!job) return;
    if (job.person === person() && job.at < assistants.length) return run(job);
    sessionStorage.removeItem(JOB);
    if (job.kind !== "delete") await (await partsOf(job.id)).clear();
  }

  /** End the job, for good. */
  async function cancel() {
    abort.abort();
    place.hidden = true;
    const job = JSON.parse(sessionStorage.getItem(JOB) ?? "null");
    sessionStorage.removeItem(JOB);
    if (job && job.kind !== "delete") await (await partsOf(job.id)).clear();
  }

  /** How many threads there are, and when the newest of each assistant was created: later ones are not deleted. */
  async function counted(signal, tell) {
    let total = 0;
    const newest = [];
    for (const { api } of assistants) {
      let after = null;
      let first = null;
      do {
        const page = await patiently(() => api.call("threads.list", { limit: PAGE, order: "desc", after }), signal, ({ error }) => tell(t("trying_again", { message: error.message })));
        first ??= page.data[0]?.created_at ?? null;
        total += page.data.length;
        tell(t("counting", { count: total }));
        after = page.has_more ? page.after : null;
      } while (after);
      newest.push(first);
    }
    return { total, newest };
  }

  async function run(job) {
    abort = new AbortController();
    const { signal } = abort;
    const isDownload = job.kind !== "delete";
    keep(job);
    show(job);
    try {
      const parts = isDownload ? await partsOf(job.id) : null;
      if (parts && (await parts.count()) < job.done) Object.assign(job, { done: 0, at: 0, after: null }); // the browser has deleted some
      for (; job.at < assistants.length; Object.assign(job, { at: job.at + 1, after: null })) await (isDownload ? download(job, parts, signal) : remove(job, signal));
      if (parts) {
        save([texts[job.kind].head(job.done), ...(await parts.all(job.done))], job.kind);
        await parts.clear();
      }
      sessionStorage.removeItem(JOB);
      place.hidden = true;
      if (!isDownload) refresh();
      say({ level: "info", message: isDownload ? t("chats_downloaded", { count: job.done }) : t("chats_deleted", { count: job.total }) }); // a reload may have lost an answer
    } catch (error) {
      if (signal.aborted) return;
      const message = error instanceof DOMException ? t("download_not_stored") : error.message;
      show(job, { error: { message }, again: () => run(job) });
    }
  }

  async function download(job, parts, signal) {
    const { api, assistant } = assistants[job.at];
    await eachSlice(job, signal, { after: () => job.after }, async (threads) => {
      const written = await Promise.all(threads.map(async (thread) => {
        const items = await itemsOf(api, thread, job, signal);
        return items && texts[job.kind].thread(thread, items, assistant);
      }));
      for (const text of written.filter((one) => one !== null)) await parts.put(job.done++, text);
      job.after = threads.at(-1).id;
    });
  }

  /** The items of a thread; null if it has been deleted meanwhile. */
  async function itemsOf(api, thread, job, signal) {
    const items = [];
    let after = null;
    try {
      do {
        const page = await patiently(() => api.call("items.list", { thread_id: thread.id, limit: PAGE, order: "asc", after }), signal, (wait) => show(job, wait));
        items.push(...page.data);
        after = page.has_more ? page.after : null;
      } while (after);
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
    return items;
  }

  async function remove(job, signal) {
    const { api } = assistants[job.at];
    const newest = job.newest[job.at];
    if (newest === null) return;
    await eachSlice(job, signal, { after: () => null, until: Date.parse(newest) }, (threads) => Promise.all(threads.map(async ({ id }) => {
      await patiently(() => api.call("threads.delete", { thread_id: id }), signal, (wait) => show(job, wait))
        .catch((error) => { if (error.status !== 404) throw error; });
      onGone([id]);
      job.done += 1;
      keep(job);
    })));
  }

  const keep = (job) => { if (!abort.signal.aborted) sessionStorage.setItem(JOB, JSON.stringify(job)); };

  /** Call `handle` with a few threads at a time, the oldest first, and save how far the job is after each call. */
  async function eachSlice(job, signal, { after, until = Infinity }, handle) {
    const { api } = assistants[job.at];
    while (true) {
      const page = await patiently(() => api.call("threads.list", { limit: PAGE, order: "asc", after: after() }), signal, (wait) => show(job, wait));
      const threads = page.data.filter(({ created_at: created }) => Date.parse(created) <= until);
      for (let at = 0; at < threads.length; at += AT_ONCE) {
        await handle(threads.slice(at, at + AT_ONCE));
        signal.throwIfAborted();
        keep(job);
        show(job);
      }
      if (!page.has_more || threads.length < page.data.length) return;
    }
  }

  /** Show the progress; also why it waits or has stopped, and `again` to continue. */
  function show({ kind, done, total }, { error = null, again = null } = {}) {
    const most = Math.max(total, done);
    place.hidden = false;
    const text = !error ? t(kind === "delete" ? "deleting_chats" : "downloading_chats", { done, count: most })
      : again ? error.message : t("trying_again", { message: error.message });
    if (!place.firstChild) place.append(h("p", { role: "status" }), h("progress", { "aria-label": t("all_chats") }),
      h("div.bar", {}, h("button.link", { type: "button", onclick: () => next() }, t("try_again")), h("button.link", { type: "button", onclick: cancel }, t("cancel"))));
    const [status, progress, bar] = place.children;
    if (status.textContent !== text) status.textContent = text;
    Object.assign(progress, { max: most, value: done });
    next = again;
    bar.firstChild.hidden = !again;
  }

  /** The result of `call`, repeated for as long as the network or the server is away, and never before Retry-After. */
  async function patiently(call, signal, onWait) {
    for (let tries = 0; ; tries += 1) {
      signal.throwIfAborted();
      try {
        return await call();
      } catch (error) {
        const passes = error.code === "offline" || error.status === 429 || error.status >= 500;
        if (!passes || error.retryAfterS > MOST_PAUSE_S) throw error;
        onWait({ error });
        await pause(Math.max(error.retryAfterS * 1000, PAUSES_MS[Math.min(tries, PAUSES_MS.length - 1)]), signal);
      }
    }
  }

  function save(parts, kind) {
    const url = URL.createObjectURL(new Blob(parts, { type: texts[kind].type }));
    h("a", { href: url, download: `chats-${new Date().toISOString().slice(0, 10)}.${kind}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000); // by then the browser has read it
  }

  return { ask, resume, cancel };
}
