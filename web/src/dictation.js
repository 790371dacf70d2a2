// Dictation: records the microphone in a format that the server transcribes. Knows no page and no request.
import { t } from "./texts.js";

const TYPES = ["audio/webm", "audio/mp4", "audio/ogg"]; // what the server takes: docs/reference/chatkit.md
const BITS_PER_S = 32_000; // enough for speech
const MOST_MS = 150_000; // in base64 and at this rate 0.8 MB: the server takes 1 MB unless it is told otherwise

/**
 * Start to record. Rejects with a sentence for the user if there is no microphone.
 * @returns {Promise<{ stop(): void, audio: Promise<{ audio_base64: string, mime_type: string }> }>}
 */
export async function record() {
  const mimeType = TYPES.find((type) => globalThis.MediaRecorder?.isTypeSupported(type));
  const stream = mimeType && await navigator.mediaDevices?.getUserMedia({ audio: true }).catch(() => null);
  if (!stream) throw new Error(t("microphone_blocked"));
  const recorder = new MediaRecorder(stream, { mimeType, audioBitsPerSecond: BITS_PER_S });
  const chunks = [];
  recorder.addEventListener("dataavailable", ({ data }) => chunks.push(data));
  const ended = new Promise((resolve) => { recorder.addEventListener("stop", resolve); });
  recorder.start();
  const stop = () => { if (recorder.state !== "inactive") recorder.stop(); };
  const timer = setTimeout(stop, MOST_MS);
  const audio = ended.then(async () => {
    clearTimeout(timer);
    for (const track of stream.getTracks()) track.stop(); // the browser shows that nothing is recorded any more
    return { audio_base64: base64(await new Blob(chunks).arrayBuffer()), mime_type: mimeType };
  });
  return { stop, audio };
}

function base64(buffer) {
  let text = "";
  for (const byte of new Uint8Array(buffer)) text += String.fromCharCode(byte);
  return btoa(text);
}
