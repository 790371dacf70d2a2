// Support for the chat_client_*.test.mjs suites: a chat client with a scripted server and mocked timers. Has no tests.
import { chatClient } from "../../web/src/chat-client.js";

export const URL_ = "https://chat.test/chatkit";
export const MESSAGE = JSON.stringify({ type: "threads.create", params: {} });
export const EVENTS = { headers: { "content-type": "text/event-stream" } };
export const settle = async () => { for (let n = 0; n < 30; n++) await new Promise(setImmediate); };
export const visible = () => ({ visibilityState: "visible" });

let timers;
/** For `beforeEach`: mocks timers, so that time passes only when a test calls `tick` or `passing`. */
export const stopTheClock = (t) => {
  timers = t.mock.timers;
  timers.enable({ apis: ["setTimeout", "Date"], now: 1_700_000_000_000 });
};
export const tick = (ms) => timers.tick(ms);
export const passing = async (ms) => { await settle(); tick(ms); await settle(); };

/** A client of a server that responds with `route(path, init, n)`, and the list of requests that it received. */
export function client(route, { document = visible(), ...options } = {}) {
  const requests = [];
  const fetch = async (url, init = {}) => {
    init.signal?.throwIfAborted();
    const path = new URL(url).pathname;
    requests.push({ path, url: String(url), headers: new Headers(init.headers), body: init.body, keepalive: init.keepalive });
    return route(path, init, requests.filter((request) => request.path === path).length);
  };
  return { requests, chat: chatClient({ url: URL_, fetch, document, ...options }) };
}
export const to = (requests, path) => requests.filter((request) => request.path === path);
