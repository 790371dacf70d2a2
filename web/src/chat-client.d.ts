/** Types of chat-client.js. The events and attachments are those of ChatKit's own protocol (openai-chatkit). */

export interface ChatClientOptions {
  /** The address of POST /chatkit: relative to the page, or absolute if the page's origin is in the stage's `cors_origins`. */
  url: string;
  /**
   * Returns the bearer token (without "Bearer"), or null if nobody is signed in. A JWT is kept until a minute before it
   * expires; a token of another kind is requested anew before each request. `renew`: the last token was refused or is
   * about to expire, so return a new one. Create a new client when another user signs in.
   */
  getToken?: (how: { renew: boolean }) => string | null | Promise<string | null>;
  /**
   * The header for the token: "x-chat-authorization" if CloudFront signs requests and uses Authorization itself
   * (`front_door` cloudfront-signed). The client then also sends the SHA-256 of each body.
   */
  tokenHeader?: string;
  /** The language of the server's messages, such as "de"; by default, the one that the browser prefers. */
  language?: string;
  /** Sends the requests; the browser's fetch by default. */
  fetch?: typeof globalThis.fetch;
  /** Tells whether the page is visible; the browser's document by default. */
  document?: Pick<Document, "visibilityState">;
  /** Uploads files; the browser's class by default. */
  XMLHttpRequest?: typeof globalThis.XMLHttpRequest;
}

/** One event of a turn, such as thread.item.added. */
export interface ChatEvent {
  type: string;
  [field: string]: unknown;
}

/** An uploaded file. To send it in a message, add its `id` to `input.attachments`. */
export interface ChatAttachment {
  type: "file" | "image";
  id: string;
  name: string;
  mime_type: string;
  /** For images only; valid for an hour. */
  preview_url?: string;
  [field: string]: unknown;
}

export interface ChatClient {
  /** The absolute address of the endpoint. */
  readonly url: string;
  /**
   * For ChatKit's `api.fetch`: adds the token and the id of the turn, repeats a request once after a 401, and informs the
   * server when the user presses Stop. The body of a message must be a string. Requests to other servers are unchanged.
   */
  fetch: typeof globalThis.fetch;
  /** Call one of ChatKit's operations that return JSON, such as `call("threads.list", { limit: 20 })`. */
  call<Result = unknown>(type: string, params?: object, options?: { signal?: AbortSignal }): Promise<Result>;
  /** Stop a turn. Resolves to false if it has ended, does not exist or belongs to another user. */
  stop(turnId: string): Promise<boolean>;
  /**
   * Create an attachment and upload its file to S3, in at most three attempts. `onProgress(sent, total)` counts bytes. If
   * the upload fails or the signal aborts, the attachment is deleted again.
   */
  upload(
    file: File,
    options?: { onProgress?: (sent: number, total: number) => void; signal?: AbortSignal },
  ): Promise<ChatAttachment>;
  /** The id of the turn that is running in a thread, or null. Call it after a reload. */
  running(threadId: string, options?: { signal?: AbortSignal }): Promise<string | null>;
  /** Whether a thread waits for a person or has one; null if the assistant answers, or if the stage has no operators. */
  held(threadId: string, options?: { signal?: AbortSignal }): Promise<"waiting" | "person" | null>;
  /** Ask for a person (docs/how-to/operators.md). ChatError: 429 if the user asked too often, 404 without operators. */
  askForPerson(threadId: string, options?: { signal?: AbortSignal }): Promise<"waiting" | "person">;
  /**
   * Yield the events of a turn after number `after`, until it ends, even if the connection breaks. If the signal aborts
   * while the page is visible, the turn is stopped.
   */
  resume(turnId: string, options?: { after?: number; signal?: AbortSignal }): AsyncGenerator<ChatEvent, void, void>;
  /**
   * Wait until the turn that is running in a thread ends. Resolves to true if there was one: then call ChatKit's
   * `fetchUpdates()`. Each turn is followed once. Call it on ChatKit's `thread.load.end`, for answers to survive a reload.
   */
  follow(threadId: string): Promise<boolean>;
}

export function chatClient(options: ChatClientOptions): ChatClient;

/**
 * Request a token for a new guest: POST /auth/guest at `url`. `captcha` is the solution of the CAPTCHA, if the server
 * checks one (docs/how-to/captcha.md). ChatError: 403 if the check refused the guest, 429 if too many guests came.
 */
export function guestToken(options: {
  url: string;
  captcha?: string;
  tokenHeader?: string;
  language?: string;
  fetch?: typeof globalThis.fetch;
}): Promise<{ token: string; expires_at: number; counted_as: string }>;

/** The server refused a request. All methods except `fetch` throw it. */
export class ChatError extends Error {
  readonly name: "ChatError";
  /** The HTTP status. */
  readonly status: number;
  /** The server's name for the error: not_found, unauthorized, refused, invalid_request, too_large, conflict, quota, unavailable ... */
  readonly code: string;
  /** The seconds to wait before the request is repeated, for a limit or an overloaded server; 0 if that is unknown. */
  readonly retryAfterS: number;
  constructor(message: string, of: { status: number; code: string; retryAfterS?: number });
  /** The error in a response whose body has not been read. */
  static of(answer: Response): Promise<ChatError>;
}
