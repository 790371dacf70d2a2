// The parts of an unfinished download, kept in IndexedDB across a reload: sessionStorage is too small for them.

const NAME = "chat.download";
const STORE = "parts";
const KEPT_MS = 86_400_000; // a download that a closed tab has left is deleted after a day

const settled = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** The parts of the download `id`, which is the time of its start. */
export const partsOf = (id) => opened(id).catch(inMemory);

async function opened(id) {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  const database = await settled(request);
  const store = (mode) => database.transaction(STORE, mode).objectStore(STORE);
  const own = IDBKeyRange.bound([id], [id, []]); // an array sorts after every number
  await settled(store("readwrite").delete(IDBKeyRange.upperBound([id - KEPT_MS])));
  return {
    /** Store part `number`, in place of an earlier one of that number. */
    put: (number, text) => settled(store("readwrite").put(text, [id, number])),
    count: () => settled(store("readonly").count(own)),
    /** The first `count` parts in order. */
    all: (count) => settled(store("readonly").getAll(own, count || 1)),
    async clear() {
      await settled(store("readwrite").delete(own));
      database.close();
    },
  };
}

/** The same in memory, where the browser allows no IndexedDB: after a reload the download begins anew. */
function inMemory() {
  const parts = [];
  return {
    put: async (number, text) => { parts[number] = text; },
    count: async () => parts.length,
    all: async (count) => parts.slice(0, count),
    clear: async () => { parts.length = 0; },
  };
}
