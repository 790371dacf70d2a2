// sessionStorage and localStorage that never throw. A browser may deny them to a frame on another site, and they may be
// full: then items stay in memory, and are lost with a reload.

for (const name of ["sessionStorage", "localStorage"]) {
  let storage = null;
  try {
    globalThis[name].getItem("chat");
    storage = globalThis[name];
  } catch { /* denied */ }
  Object.defineProperty(globalThis, name, { value: lenient(storage), configurable: true });
}

/** `storage`, or null if it is denied, with the methods that the page uses. */
function lenient(storage) {
  const unstored = new Map();
  const methods = {
    getItem: (key) => unstored.get(key) ?? storage?.getItem(key) ?? null,
    setItem(key, value) {
      methods.removeItem(key);
      try {
        storage.setItem(key, value);
      } catch {
        unstored.set(key, String(value));
      }
    },
    removeItem(key) {
      unstored.delete(key);
      storage?.removeItem(key);
    },
  };
  return new Proxy(storage ?? {}, { get: (target, key) => methods[key] ?? Reflect.get(target, key) });
}
