/** Types of chat-client.js. The events and attachments are those of ChatKit's own protocol (openai-chatkit). */

export interface ChatClientOptions {
  /** Where POST /chatkit is; relative to the page, or of another origin that is in the stage's `cors_origins`. */
  url: string;
  /**
   * The bearer token (without "Bearer"), or null where nobody signs in. A JWT is kept until a minute before its end;
   * another token is asked for before each request. `renew`: the last one is refused or about to end, get a new one.
   * Make a new client when another person signs in.
   */
  getToken?: (how: { renew: boolean }) => string | null | Promise<string | null>;
  /**
   * The header that carries it, where CloudFront signs requests and Authorization is its own (`front_door` cloudfront-signed):
   * "x-chat-authorization". The SHA-256 of each body is then sent, too, whatever fetch takes as one.
   */
  tokenHeader?: string;
  /** The language of the server's sentences, such as "de"; without it, those that the browser prefers. */
  language?: string;
  /** What sends; the browser's own by default. */
  fetch?: typeof globalThis.fetch;
  /** Whether the page is visible; the browser's own by default. */
  document?: Pick<Document, "visibilityState">;
  /** What uploads; the browser's own by default. */
  XMLHttpRequest?: typeof globalThis.XMLHttpRequest;
}

/** One event of a turn, such as thread.item.added. */
export interface ChatEvent {
  type: string;
  [field: string]: unknown;
}

/** An attachment to name in a message: its `id` goes into `input.attachments`. */
export interface ChatAttachment {
  type: "file" | "image";
  id: string;
  name: string;
  mime_type: string;
  /** An image's; good for an hour. */
  preview_url?: string;
  [field: string]: unknown;
}

export interface ChatClient {
  /** The endpoint, absolute. */
  readonly url: string;
  /**
   * For ChatKit's `api.fetch`: adds the token and the turn's id, repeats once after a 401, tells the server of Stop.
   * The body of a message must be a string, as ChatKit's are. Requests to other places pass untouched.
   */
  fetch: typeof globalThis.fetch;
  /** One of ChatKit's operations that answer with JSON, such as `call("threads.list", { limit: 20 })`. */
  call<Result = unknown>(type: string, params?: object, options?: { signal?: AbortSignal }): Promise<Result>;
  /** Ask a turn to stop; false when it is over, unknown or someone else's. */
  stop(turnId: string): Promise<boolean>;
  /**
   * Announce a file and send it to S3, three times at most. `onProgress(sent, total)` in bytes. When it fails or the
   * signal aborts, the announced attachment is taken back.
   */
  upload(
    file: File,
    options?: { onProgress?: (sent: number, total: number) => void; signal?: AbortSignal },
  ): Promise<ChatAttachment>;
  /** The id of the turn that runs in a thread, or null. Ask after a reload. */
  running(threadId: string, options?: { signal?: AbortSignal }): Promise<string | null>;
  /** Whether a thread waits for a person or has one; null while the assistant has it, or where the stage has no operators. */
  held(threadId: string, options?: { signal?: AbortSignal }): Promise<"waiting" | "person" | null>;
  /** Make a thread wait for a person (docs/how-to/operators.md). ChatError: 429 if the user has asked too often, 404 without operators. */
  askForPerson(threadId: string, options?: { signal?: AbortSignal }): Promise<"waiting" | "person">;
  /**
   * The events of a turn, from the first after `after`, to its end, across broken connections. When the signal aborts
   * while the page is visible, the turn is stopped.
   */
  resume(turnId: string, options?: { after?: number; signal?: AbortSignal }): AsyncGenerator<ChatEvent, void, void>;
  /**
   * Wait for the end of the turn that runs in a thread: true when there was one, then ask ChatKit to `fetchUpdates()`.
   * Each turn is followed once. For ChatKit's `thread.load.end`, so that an answer survives a reload of the page.
   */
  follow(threadId: string): Promise<boolean>;
}

export function chatClient(options: ChatClientOptions): ChatClient;

/**
 * A token for a guest: POST /auth/guest at `url`. `captcha` is what a CAPTCHA gave the page, where the server checks one
 * (docs/how-to/captcha.md). `tokenHeader` as for chatClient. Throws ChatError: 403 if the check refused, 429 if too many came.
 */
export function guestToken(options: {
  url: string;
  captcha?: string;
  tokenHeader?: string;
  language?: string;
  fetch?: typeof globalThis.fetch;
}): Promise<{ token: string; expires_at: number; counted_as: string }>;

/** What the server refused. `call`, `stop`, `upload`, `running` and `resume` throw it; `fetch` does not. */
export class ChatError extends Error {
  readonly name: "ChatError";
  /** HTTP's. */
  readonly status: number;
  /** The server's name for it: not_found, unauthorized, refused, invalid_request, too_large, conflict, quota, unavailable ... */
  readonly code: string;
  /** After how many seconds the same may be asked again (a quota, a server that is overloaded); 0 where that is unknown. */
  readonly retryAfterS: number;
  constructor(message: string, of: { status: number; code: string; retryAfterS?: number });
  /** The error that an answer is, whose body is not read yet. */
  static of(answer: Response): Promise<ChatError>;
}
