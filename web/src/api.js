// The server's requests, as the page makes them: one answer, or a stream of events that outlives a broken connection.
import { fetchEventSource } from "@microsoft/fetch-event-source";
import { ChatError, chatClient } from "./chat-client.js";

const PAUSE_MS = [500, 1000, 2000, 4000, 8000]; // before each new try of one stream: half a minute without a network

/**
 * Every refusal is a ChatError whose message may be shown; "offline" is the code where nobody answered.
 * @param {{ url: string, session: import("./session.js").Session, tokenHeader?: string }} where
 */
export function createApi({ url, session, tokenHeader }) {
  let open = true;
  const chat = chatClient({ url, getToken: (how) => (open ? session.getToken(how) : null), tokenHeader });

  return {
    /** Another person is here: what still runs ends as it may, and is never repeated with that one's token. */
    close() { open = false; },

    /** One of ChatKit's requests that are answered at once. */
    call: (type, params) => told(() => chat.call(type, params)),

    /** What a guest said before signing in becomes the user's. */
    takeAlong: () => told(() => session.takeAlong(chat.fetch)),

    /** One of those that stream. A broken stream is asked for again and goes on where it broke: the event's ids say so. */
    async stream(type, params, { signal, onEvent, onBroken }) {
      let failed = 0;
      await fetchEventSource(chat.url, {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ type, params }),
        signal, fetch: chat.fetch, openWhenHidden: true, // a hidden tab goes on reading: nothing is to be caught up with
        onopen: async (answer) => { if (!answer.ok) throw await ChatError.of(answer); },
        onmessage(message) {
          failed = 0;
          if (message.data) onEvent(JSON.parse(message.data));
        },
        onerror(error) {
          const final = error instanceof ChatError && error.status < 500 && !isThrottled(error);
          if (final || failed >= PAUSE_MS.length) throw shown(error);
          onBroken();
          return PAUSE_MS[failed++];
        },
      });
    },

    /** The events of a turn that runs, from its first on; an abort of `signal` stops it. */
    async follow(turnId, { signal, onEvent }) {
      try {
        for await (const event of chat.resume(turnId, { signal })) onEvent(event);
      } catch (error) {
        if (!signal.aborted) throw shown(error);
      }
    },

    /** The id of the turn that runs in a thread, or null. */
    running: (threadId) => told(() => chat.running(threadId)),

    /** The attachment that came of a file; onProgress gets a share of 1. */
    upload: (file, { signal, onProgress }) =>
      told(() => chat.upload(file, { signal, onProgress: (sent, all) => onProgress(sent / (all || 1)) })),
  };
}

/** Lambda's own 429, which has no sentence: all of the function's processes were busy, and nothing was begun. */
const isThrottled = (error) => error.status === 429 && error.code === "http_error";

async function told(ask) {
  for (const pause of [...PAUSE_MS.slice(0, 3), null]) {
    try {
      return await ask();
    } catch (error) {
      if (pause === null || !isThrottled(error)) throw shown(error);
      await new Promise((go) => { setTimeout(go, pause); });
    }
  }
}

function shown(error) {
  if (error instanceof ChatError) return error;
  const text = error instanceof TypeError ? "The connection was lost. Check your network, then try again." : error.message;
  return new ChatError(text, { status: 0, code: "offline" }); // fetch throws a TypeError, the session its own sentences
}
