// The server's requests, as the page makes them: one answer, or a stream of events that outlives a broken connection.
import { ChatError, chatClient } from "./chat-client.js";
import { isThrottled, resultOf } from "./client/answers.js";
import { eventsAcrossBreaks } from "./client/streams.js";
import { triesOf } from "./client/tries.js";
import { currentLanguage, t } from "./texts.js";

const STREAM_PAUSES_MS = [0, 500, 1000, 2000, 4000, 8000]; // before each try: half a minute without a network
const CALL_PAUSES_MS = [0, 500, 1000, 2000]; // while Lambda throttles

/**
 * Every refusal is a ChatError whose message may be shown; "offline" is the code where nobody answered.
 * @param {{ url: string, session: import("./session.js").Session, tokenHeader?: string }} where
 */
export function createApi({ url, session, tokenHeader }) {
  let open = true;
  const chat = chatClient({ url, getToken: (how) => (open ? session.getToken(how) : null), tokenHeader, language: currentLanguage() });

  return {
    /** Another person is here: what still runs ends as it may, and is never repeated with that one's token. */
    close() { open = false; },

    /** One of ChatKit's requests that are answered at once. */
    call: (type, params) => answerOf(() => chat.call(type, params)),

    /** The chatClient itself. */
    chat,

    /** One of ChatKit's requests that stream. After a broken connection it continues with the next event. */
    stream(type, params, { signal, onEvent, onBreak, metadata }) {
      const body = JSON.stringify({ type, params, metadata });
      const open = (seen) => {
        const headers = { accept: "text/event-stream", "content-type": "application/json" };
        return chat.fetch(chat.url, { method: "POST", headers: seen === null ? headers : { ...headers, "last-event-id": seen }, body, signal });
      };
      return handled(eventsAcrossBreaks(open, { pauses: STREAM_PAUSES_MS, signal, onBreak }), { signal, onEvent });
    },

    /** The events of a running turn from its first one; an abort of `signal` stops the turn. */
    follow: (turnId, { signal, onEvent }) => handled(chat.resume(turnId, { signal }), { signal, onEvent }),

    /** The id of the turn that runs in a thread, or null. */
    running: (threadId) => answerOf(() => chat.running(threadId)),

    /** Whether a thread waits for a person or has one, and the request for one. */
    held: (threadId) => answerOf(() => chat.held(threadId)),
    askForPerson: (threadId) => answerOf(() => chat.askForPerson(threadId)),

    /** A URL that opens an attached file in a tab. */
    fileUrl: (id) => answerOf(async () => (await resultOf(await chat.fetch(`${chat.url}/attachments/${encodeURIComponent(id)}`))).url),

    /** The attachment that came of a file; onProgress gets a share of 1. */
    upload: (file, { signal, onProgress }) =>
      answerOf(() => chat.upload(file, { signal, onProgress: (sent, all) => onProgress(sent / (all || 1)) })),
  };
}

/** Hand each event to `onEvent`; an abort of `signal` ends the stream without an error. */
async function handled(events, { signal, onEvent }) {
  try {
    for await (const event of events) onEvent(event);
  } catch (error) {
    if (!signal.aborted) throw shown(error);
  }
}

/** The result of `ask`, which is repeated while Lambda throttles. */
export async function answerOf(ask) {
  const tries = triesOf(undefined, CALL_PAUSES_MS);
  while (true) {
    try {
      await tries.next();
      return await ask();
    } catch (error) {
      if (!isThrottled(error)) throw shown(error);
      tries.failed(error);
    }
  }
}

function shown(error) {
  const { status, code, retryAfterS } = error;
  const own = { upload: "upload_refused", http_error: "server_status" }[code]; // of chat-client.js, whose texts are English
  if (own) return new ChatError(t(own, { status: String(status) }), { status, code, retryAfterS });
  if (error instanceof ChatError) return error;
  const text = error.constructor === Error ? error.message : t("connection_lost"); // the session's own sentences are Errors
  return new ChatError(text, { status: 0, code: "offline" });
}
