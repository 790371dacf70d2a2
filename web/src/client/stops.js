// Stop: detects that the user pressed it, and tells the server.
import { isFinal, resultOf } from "./answers.js";
import { pause } from "./tries.js";

const STOP_AGAIN_MS = [0, 500, 1_000, 2_000, 4_000]; // waits before each try: Stop may overtake the request it stops

/** @import { ChatClient } from "../chat-client.d.ts" */

/** `stop` is the client's method; `watch` detects an aborted stream and stops its turn. */
export function stopsOf(endpoint, send, document) {
  /** @type {ChatClient["stop"]} */
  async function stop(turnId) {
    const body = JSON.stringify({ turn_id: turnId });
    const headers = { "content-type": "application/json" };
    const answer = await send(`${endpoint}/stop`, { method: "POST", headers, body, keepalive: true });
    return (await resultOf(answer)).stopped;
  }

  /** Repeat until the server has stopped the turn: it may not know it yet, or the network may be down for a moment. */
  async function stopSurely(turnId, met) {
    for (const wait of STOP_AGAIN_MS) {
      await pause(wait);
      const stopped = await stop(turnId).catch((error) => (isFinal(error) ? true : null));
      if (stopped || (stopped === false && met())) return;
    }
  }

  /** One stream: `state` is "open" until it is "over" (ended, refused, stopped) or "broken". */
  function watch(turnId, { signal, met, onBreak }) {
    const stream = { state: "open" };
    stream.over = () => { if (stream.state === "open") stream.state = "over"; };
    stream.broke = () => { if (stream.state === "open") { stream.state = "broken"; onBreak(); } };
    signal?.addEventListener("abort", () => {
      if (stream.state !== "open") return;
      if (document?.visibilityState === "hidden") return stream.broke();
      stream.over();
      stopSurely(turnId, met); // never rejects
    }, { once: true });
    return stream;
  }

  return { stop, watch };
}
