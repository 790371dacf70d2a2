// Trying again, and names for what is tried.
import { isFinal } from "./answers.js";

const TRY_AGAIN_MS = [0, 500, 1_500]; // of an upload, and of following a turn: since something last went well

/** Tries that may go wrong: `next` waits, `failed` throws what no further try would mend. */
export function triesOf(signal) {
  let failures = 0;
  return {
    next: () => pause(TRY_AGAIN_MS[failures]),
    wentWell: () => { failures = 0; },
    failed(error) {
      failures += 1;
      if (signal?.aborted || isFinal(error) || failures === TRY_AGAIN_MS.length) throw error;
    },
  };
}

/** Waits; rejects as soon as the signal aborts. */
export const pause = (ms, signal) => (ms ? new Promise((go, stop) => {
  setTimeout(go, ms);
  signal?.addEventListener("abort", () => stop(signal.reason), { once: true });
}) : undefined);

export function newId() { // crypto.randomUUID is missing where a page has no TLS, as on a phone beside the laptop
  return hexOf(crypto.getRandomValues(new Uint8Array(16)));
}

export const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
