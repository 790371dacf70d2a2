// A user's thread as an operator sees it. Knows the operators' requests; knows no element.
import { Conversation } from "../conversation.js";

const NEWEST = 30; // items that each look reads: what is new, edited or still being written

/** The conversation of a thread. `holder` is who has it, null for the assistant: { state, operator, since }. */
export class UsersThread extends Conversation {
  readOnly = true;
  holder = null;
  #read;
  #requests;
  #reading = 0; // counts what was read and written: an answer that is older than the newest of them shows nothing

  constructor(requests, place) {
    const read = async ({ order, limit, after }) => {
      const reading = ++this.#reading;
      const { thread, held, items } = await requests.thread(place, { order, limit, after });
      const isNewest = reading === this.#reading;
      if (isNewest) Object.assign(this, { thread, holder: held });
      if (isNewest) this.dispatchEvent(new CustomEvent("state"));
      return { ...items, isNewest };
    };
    super({ call: (_, query) => read(query), running: async () => null }, { id: place.thread });
    this.#read = read;
    this.#requests = requests;
    this.place = place;
  }

  get editable() { return null; }

  fileUrl(file) { return this.#requests.fileUrl(this.place, file.id); }

  receive(items) {
    this.#reading += 1;
    super.receive(items);
  }

  /** Read the newest items again. Resolves to those that are new or have changed. */
  async refresh() {
    const page = await this.#read({ order: "desc", limit: NEWEST });
    if (!page.isNewest) return [];
    const listed = page.data.reverse();
    const known = [...this.items];
    const start = known.findIndex(([id]) => id === listed[0]?.id);
    const isFar = page.has_more && !listed.some(({ id }) => this.items.has(id)); // more came than a look reads
    const kept = !page.has_more || isFar ? [] : known.slice(0, start < 0 ? known.length : start);
    const changed = listed.filter((item) => signature(item) !== signature(this.items.get(item.id)));
    const news = new Set(changed.map(({ id }) => id));
    const items = new Map([...kept, ...listed.map((item) => [item.id, news.has(item.id) ? item : this.items.get(item.id)])]);
    if (isFar) this.before = page.after;
    const isSame = !changed.length && items.size === this.items.size;
    this.items = items;
    if (!isSame) this.dispatchEvent(new CustomEvent("items", { detail: { ids: [...news] } }));
    return changed;
  }
}

/** What an item says, without URLs, which are signed anew with each request. */
const signature = (item) => JSON.stringify(item, (key, value) => (key === "preview_url" || key === "url" ? undefined : value));
