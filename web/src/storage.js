// Replaces sessionStorage and localStorage where the browser denies them, as it may in a frame on another site. What the
// page keeps there is then lost with a reload.

for (const name of ["sessionStorage", "localStorage"]) {
  try {
    globalThis[name].getItem("chat");
  } catch {
    Object.defineProperty(globalThis, name, { value: inMemory(), configurable: true });
  }
}

function inMemory() {
  const items = new Map();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => { items.set(key, String(value)); },
    removeItem: (key) => { items.delete(key); },
  };
}
