// The list of what waits for a person: filters, sections and pages. Knows the operators' requests; knows no thread.
import { h, skeleton } from "../dom.js";
import { currentLanguage, t } from "../texts.js";

const EVERY_MS = 10_000;
const KINDS = { handoff: "operator_handoff", "thumbs-down": "operator_thumbs_down", "failed-turn": "operator_failed_turn" };
const STATES = { open: "operator_open", taken: "operator_taken", closed: "operator_closed" };
const SECTIONS = { yours: "operator_yours", ...STATES };

/**
 * <operator-inbox>: dispatches "open" with { matter }, and "access" with { error }, which is null while the inbox can be
 * read.
 */
export class OperatorInbox extends HTMLElement {
  operator = null; // the id of whoever reads
  #shown = ""; // JSON of what is drawn
  #pages = 1; // that are shown, of each state
  #current = null;
  #timer = 0;
  #reading = 0; // counts the requests: only the newest counts

  connectedCallback() {
    const filter = (label, all, choices) => h("select.field", { "aria-label": t(label), onchange: () => this.#filter() },
      [["", all], ...Object.entries(choices)].map(([value, key]) => h("option", { value }, t(key))));
    this.kinds = filter("operator_kind", "operator_all_kinds", KINDS);
    this.states = filter("operator_state", "operator_unfinished", STATES);
    this.status = h("p.status", { role: "status" });
    this.skeleton = skeleton(4);
    this.list = h("div.list");
    this.more = h("button.link", { type: "button", hidden: true, onclick: () => { this.#pages += 1; this.refresh(); } }, t("show_more"));
    this.replaceChildren(h("div.filters", {}, this.kinds, this.states), this.status, this.skeleton, this.list, this.more);
    document.addEventListener("visibilitychange", () => { if (!document.hidden && this.#timer) this.refresh(); });
  }

  /** Show the inbox of an assistant. */
  use(requests, assistant) {
    Object.assign(this, { requests, assistant });
    this.#filter();
  }

  /** Show nothing, and stop looking. */
  clear() {
    this.#reading += 1;
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#draw([]);
    this.status.textContent = "";
    this.more.hidden = true;
  }

  #filter() {
    this.#pages = 1;
    this.#draw([]);
    this.skeleton.hidden = false;
    this.status.textContent = "";
    this.refresh();
  }

  /** The place of the open thread, or null. */
  set current(place) {
    this.#current = place;
    for (const button of this.list.querySelectorAll("button")) button.toggleAttribute("aria-current", isAt(button.matter, place));
  }

  async refresh() {
    const reading = ++this.#reading;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { if (!document.hidden) this.refresh(); }, EVERY_MS);
    try {
      const states = this.states.value ? [this.states.value] : ["open", "taken"];
      const read = await Promise.all(states.map((state) => this.#read(state)));
      if (reading !== this.#reading) return;
      this.operator = read[0].operator;
      const matters = read.flatMap(({ matters }) => matters);
      this.#draw(matters);
      this.more.hidden = read.every(({ after }) => !after);
      this.status.textContent = matters.length ? "" : t("operator_nothing");
      this.dispatchEvent(new CustomEvent("access", { detail: { error: null } }));
    } catch (error) {
      if (reading !== this.#reading) return;
      this.skeleton.hidden = true;
      this.dispatchEvent(new CustomEvent("access", { detail: { error } }));
    }
  }

  async #read(state) {
    const all = { matters: [] };
    for (let page = 0; page < this.#pages && (page === 0 || all.after); page += 1) {
      const query = { assistant: this.assistant, kind: this.kinds.value, state, after: all.after };
      const { matters, ...rest } = await this.requests.inbox(query);
      Object.assign(all, rest).matters.push(...matters);
    }
    return all;
  }

  #draw(matters) {
    this.skeleton.hidden = true;
    const json = JSON.stringify([this.operator, matters]);
    if (json === this.#shown) return;
    this.#shown = json;
    const focused = document.activeElement?.matter?.id;
    const sections = new Map(Object.keys(SECTIONS).map((name) => [name, []]));
    for (const matter of matters) sections.get(matter.state === "taken" && matter.operator === this.operator ? "yours" : matter.state).push(this.#row(matter));
    this.list.replaceChildren(...[...sections].filter(([, rows]) => rows.length).map(([name, rows]) =>
      h("section", {}, h("h2", {}, t(SECTIONS[name])), h("ul", {}, rows))));
    if (focused) [...this.list.querySelectorAll("button")].find(({ matter }) => matter.id === focused)?.focus();
  }

  #row(matter) {
    const button = h("button.title", { type: "button", onclick: () => this.dispatchEvent(new CustomEvent("open", { detail: { matter } })) },
      t(KINDS[matter.kind]), " ", h("span.detail", {}, h("time", { datetime: matter.opened_at }, timeOf(matter.opened_at)), ` \u00b7 ${shortOf(matter.user)}`));
    button.matter = matter;
    button.toggleAttribute("aria-current", isAt(matter, this.#current));
    return h("li", {}, button);
  }
}

const isAt = ({ user, thread }, place) => user === place?.user && thread === place.thread;

/** The beginning of an id, which tells users apart. */
export const shortOf = (id) => id.slice(0, 10);

/** A time of today, or a day and a time. */
export function timeOf(text) {
  const time = new Date(text);
  const day = time.toDateString() === new Date().toDateString() ? {} : { day: "numeric", month: "short" };
  return time.toLocaleString(currentLanguage(), { ...day, hour: "numeric", minute: "2-digit" });
}

customElements.define("operator-inbox", OperatorInbox);
