// Retries with pauses, and random ids.
import { isFinal } from "./answers.js";

export const TRY_AGAIN_MS = [0, 500, 1_500]; // before each try of an upload, or to follow a turn

/** Tries with a pause before each: `failed` throws an error that is final, or that of the last try. */
export function triesOf(signal, pauses = TRY_AGAIN_MS) {
  let failures = 0;
  return {
    next: () => pause(pauses[failures], signal),
    wentWell: () => { failures = 0; },
    failed(error) {
      failures += 1;
      if (signal?.aborted || isFinal(error) || failures === pauses.length) throw error;
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
