// Uploads files to S3 with the presigned PUT that the server returned.
import { ChatError } from "./answers.js";
import { triesOf } from "./tries.js";

const LANDED = 412; // S3's answer to If-None-Match: * if an earlier try succeeded and only its response was lost
// By file extension: browsers know no type for .md, and on Windows they take .csv for a spreadsheet.
const TEXT_TYPES = { csv: "text/csv", json: "application/json", md: "text/markdown", txt: "text/plain" };

/** @import { ChatClient } from "../chat-client.d.ts" */

/** The client's `upload` method; `call` is the client's, too. */
export function uploadsOf(call, XMLHttpRequest) {
  /** @type {ChatClient["upload"]} */
  return async function upload(file, { onProgress, signal } = {}) {
    const mime_type = TEXT_TYPES[file.name.split(".").pop().toLowerCase()] ?? file.type;
    /** @type {any} */
    const announced = await call("attachments.create", { name: file.name, size: file.size, mime_type }, { signal });
    const { upload_descriptor: to, ...attachment } = announced;
    try {
      const tries = triesOf(signal);
      const sent = () => put(file, to, { onProgress, signal, XMLHttpRequest }).then(() => true, tries.failed);
      do await tries.next(); while (!await sent());
    } catch (error) {
      call("attachments.delete", { attachment_id: attachment.id }).catch(() => {}); // otherwise it expires in a day
      throw error;
    }
    return attachment;
  };
}

/** For ChatKit's own uploads: an earlier try that succeeded is no failure. */
export function uploaded(answer, { method, headers } = /** @type {RequestInit} */ ({})) {
  const once = method === "PUT" && new Headers(headers).get("if-none-match") === "*";
  return once && answer.status === LANDED ? new Response(null, { status: 200 }) : answer;
}

function put(file, to, { onProgress, signal, XMLHttpRequest }) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = new XMLHttpRequest(); // fetch reports no upload progress
    const abort = () => request.abort();
    const end = (settle, value) => { signal?.removeEventListener("abort", abort); settle(value); };
    request.open(to.method, to.url);
    for (const [name, value] of Object.entries(to.headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded }) => onProgress?.(loaded, file.size);
    request.onabort = () => end(reject, signal.reason);
    request.onerror = () => end(reject, new TypeError(`The upload of ${file.name} broke off.`));
    request.onload = () => {
      const { status } = request;
      if (status !== LANDED && (status < 200 || status > 299))
        return end(reject, new ChatError(`The upload of ${file.name} was refused. Attach it again.`, { status, code: "upload" }));
      onProgress?.(file.size, file.size);
      end(resolve);
    };
    signal?.addEventListener("abort", abort, { once: true });
    request.send(file);
  });
}
