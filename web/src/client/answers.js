// What the server answers: a result, a stream of events, or a refusal.

/**
 * What the server refused: `message` is its sentence, to be shown; `code` its error's name, `status` HTTP's. After
 * `retryAfterS` seconds the same may be asked again, where that is known (else 0).
 */
export class ChatError extends Error {
  constructor(message, { status, code, retryAfterS = 0 }) {
    super(message);
    this.name = "ChatError";
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }

  /** The error that an answer is, whose body is not read yet. */
  static async of(answer) {
    const { message, error } = (await answer.json().catch(() => null)) ?? {};
    const retryAfterS = Number(answer.headers.get("retry-after")) || 0;
    const text = message ?? `The server answered ${answer.status} and no sentence.`;
    return new ChatError(text, { status: answer.status, code: error ?? "http_error", retryAfterS });
  }
}

/** An answer's JSON; throws the ChatError that it is instead. */
export async function resultOf(answer) {
  const result = answer.ok ? await answer.clone().json().catch(() => null) : null;
  if (result === null) throw await ChatError.of(answer);
  return result;
}

export const isStream = (answer) => answer.ok && (answer.headers.get("content-type") ?? "").startsWith("text/event-stream");
/** Whether the turn is over and every event of it was seen: the answer to a resume that finds nothing more. */
export const isFinished = (answer) => answer.status === 204;
/** The same for a transport that expects a stream: one that ends at once. */
export const emptyStream = ({ headers }) =>
  new Response("", { headers: { ...Object.fromEntries(headers), "content-type": "text/event-stream" } });
/** Lambda's own 429, which has no sentence: all of the function's processes were busy, and nothing was begun. */
export const isThrottled = (error) => error instanceof ChatError && error.status === 429 && error.code === "http_error";
/** Whether the same request would be refused again. */
export const isFinal = (error) => error instanceof ChatError && error.status < 500 && !isThrottled(error);

/** `body` as it is; `stream` learns whether it ended, broke off, or was no longer wanted. */
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

/** The messages of an event stream: { id, data }, id as a number. Other lines (`: ka`, retry) are passed over. */
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
