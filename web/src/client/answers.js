// Parses the server's responses: JSON results, event streams and errors.

/**
 * An error response. `message` can be shown to the user; `code` is the server's name for the error, `status` is HTTP's.
 * After `retryAfterS` seconds the request can be repeated; 0 if that is unknown.
 */
export class ChatError extends Error {
  constructor(message, { status, code, retryAfterS = 0 }) {
    super(message);
    this.name = "ChatError";
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }

  /** The error in a response whose body has not been read yet. */
  static async of(answer) {
    const { message, error } = (await answer.json().catch(() => null)) ?? {};
    const retryAfterS = Number(answer.headers.get("retry-after")) || 0;
    const text = message ?? `The server answered with status ${answer.status}.`;
    return new ChatError(text, { status: answer.status, code: error ?? "http_error", retryAfterS });
  }
}

/** The JSON of a response; throws a ChatError if it is none. */
export async function resultOf(answer) {
  const result = answer.ok ? await answer.clone().json().catch(() => null) : null;
  if (result === null) throw await ChatError.of(answer);
  return result;
}

export const isStream = (answer) => answer.ok && (answer.headers.get("content-type") ?? "").startsWith("text/event-stream");
/** Whether the turn has ended and all of its events were seen, which is how the server answers such a resume. */
export const isFinished = (answer) => answer.status === 204;
/** An empty stream, for a transport that expects one. */
export const emptyStream = ({ headers }) =>
  new Response("", { headers: { ...Object.fromEntries(headers), "content-type": "text/event-stream" } });
/** Lambda's own 429, which has no sentence: all of the function's processes were busy, and nothing was begun. */
export const isThrottled = (error) => error instanceof ChatError && error.status === 429 && error.code === "http_error";
/** Whether the same request would be refused again. */
export const isFinal = (error) => error instanceof ChatError && error.status < 500 && !isThrottled(error);

/** `body` unchanged; `stream` is notified when it ends, breaks or is canceled. */
export function passed(body, stream) {
  const reader = body.getReader();
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
        stream.over();
        controller.close();
      } catch (error) {
        stream.broke();
        controller.error(error);
      }
    },
    cancel(reason) {
      stream.broke();
      return reader.cancel(reason);
    },
  });
}

/** The messages of an event stream as { id, data } with a numeric id. Ignores other lines, such as `: ka` and retry. */
export async function* eventsOf(body) {
  let [rest, id, data] = ["", null, []];
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let chunk; !(chunk = await reader.read()).done;) {
      const lines = (rest + chunk.value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data: ")) data.push(line.slice(6));
        else if (line.startsWith("id: ")) id = Number(line.slice(4));
        else if (line === "" && data.length) {
          yield { id, data: data.join("\n") };
          data = [];
        }
      }
    }
  } finally {
    await reader.cancel().catch(() => {}); // it broke off already
  }
}
