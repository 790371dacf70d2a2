// People who answer instead of the assistant: the button that asks for one, and the watch over a thread that one has.
import { h, icon } from "./dom.js";
import { t } from "./texts.js";

const EVERY_MS = 1_500;
const SLOWLY_MS = 10_000; // after QUIET_MS without news
const QUIET_MS = 600_000;
const OVERLAP_MS = 90_000; // the operators' clock runs each minute and dates its message back, and servers' clocks differ
const STATE_EVERY = 5; // looks

/**
 * Refresh a thread while it waits for a person or has one, and at once when the tab gets the focus. `held` resolves to
 * the state, which `show` draws; `refresh` resolves to whether there was news.
 */
export function watchHeld({ held, refresh, show }) {
  const listening = new AbortController();
  let [state, looks, busy, timer, newsAt] = [null, 0, false, 0, Date.now()];
  async function look() {
    clearTimeout(timer);
    if (busy || listening.signal.aborted) return;
    busy = true;
    const began = Date.now(); // what a look takes is part of the pause
    try {
      if (looks++ % STATE_EVERY === 0) show(state = await held());
      if (state && (await refresh())) [newsAt, looks] = [Date.now(), 0];
    } catch { /* the next look tries again */ }
    busy = false;
    if (!state || document.hidden || listening.signal.aborted) return;
    timer = setTimeout(look, (began - newsAt > QUIET_MS ? SLOWLY_MS : EVERY_MS) - (Date.now() - began));
  }
  const now = () => { looks = 0; if (!document.hidden) look(); };
  addEventListener("focus", now, { signal: listening.signal });
  document.addEventListener("visibilitychange", now, { signal: listening.signal });
  now();
  return { now, stop() { listening.abort(); clearTimeout(timer); } };
}

/** Lists what is new in a conversation; resolves to whether anything was. */
export function newsOf(api, conversation) {
  const marks = []; // [time, id of the newest item at that time]
  return async () => {
    const newest = [...conversation.items.keys()].reverse().find((id) => !id.startsWith("pending-"));
    marks.push([Date.now(), newest]);
    while (marks.length > 1 && marks[1][0] <= Date.now() - OVERLAP_MS) marks.shift();
    const page = await api.call("items.list", { thread_id: conversation.id, after: marks[0][1], order: "asc", limit: 50 });
    const news = page.data.filter(({ id }) => !conversation.items.has(id));
    conversation.receive(news);
    return news.length > 0;
  };
}

/** The line above the message box: who has the thread, or the button that asks for a person. */
export function peopleLine(ask) {
  const line = h("div.people", { role: "status", hidden: true });
  let shown = "";
  line.draw = (held, canAsk) => {
    const state = `${held} ${Boolean(canAsk)}`;
    if (state === shown) return; // a button that is replaced while it is pressed is never clicked
    shown = state;
    line.hidden = !held && !canAsk;
    line.replaceChildren(held === "waiting" ? t("waiting_for_person") : held ? t("person_answers")
      : h("button.plain", { type: "button", onclick: ask }, icon("person"), t("talk_to_person")));
  };
  return line;
}
