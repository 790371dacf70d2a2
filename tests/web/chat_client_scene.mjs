// A client of the helper on a server that answers as the test says, while time stands still. Has no tests of its own.
import { chatClient } from "../../web/src/chat-client.js";

export const URL_ = "https://chat.test/chatkit";
export const MESSAGE = JSON.stringify({ type: "threads.create", params: {} });
export const EVENTS = { headers: { "content-type": "text/event-stream" } };
export const settle = async () => { for (let n = 0; n < 30; n++) await new Promise(setImmediate); };
export const visible = () => ({ visibilityState: "visible" });

let timers;
/** For `beforeEach`: waits pass when the test lets them, nobody sleeps. */
export const stopTheClock = (t) => {
  timers = t.mock.timers;
  timers.enable({ apis: ["setTimeout", "Date"], now: 1_700_000_000_000 });
};
export const tick = (ms) => timers.tick(ms);
export const passing = async (ms) => { await settle(); tick(ms); await settle(); };

/** A client of a server that answers with what `route(path, init, n)` says; `seen` is what it was sent. */
export function client(route, { document = visible(), ...options } = {}) {
  const seen = [];
  const fetch = async (url, init = {}) => {
    init.signal?.throwIfAborted();
    const path = new URL(url).pathname;
    seen.push({ path, url: String(url), headers: new Headers(init.headers), body: init.body, keepalive: init.keepalive });
    return route(path, init, seen.filter((request) => request.path === path).length);
  };
  return { seen, chat: chatClient({ url: URL_, fetch, document, ...options }) };
}
export const to = (seen, path) => seen.filter((request) => request.path === path);
