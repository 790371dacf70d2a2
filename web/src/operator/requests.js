// The operators' requests: the inbox, threads, and their changes (lambda_src/http/operator_routes.py).
import { answerOf } from "../api.js";
import { resultOf } from "../client/answers.js";
import { senderOf } from "../client/sending.js";
import { currentLanguage } from "../texts.js";

/** Every refusal is a ChatError whose message may be shown. A `place` is { user, thread }, as the inbox lists them. */
export function operatorRequests({ session, tokenHeader }) {
  const send = senderOf(session.getToken, tokenHeader, fetch, currentLanguage());
  const request = (path, init = {}) => answerOf(async () => resultOf(await send(new URL(`operator/${path}`, location.href).href, init)));
  const given = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value != null && value !== ""));
  const pathOf = ({ user, thread }) => `threads/${encodeURIComponent(user)}/${encodeURIComponent(thread)}`;

  return {
    /** A page of the inbox: { matters, after, operator }, the last of which is the id of whoever asks. */
    inbox: (query) => request(`inbox?${given(query)}`),

    /** A thread, who has it, and a page of its items. */
    thread: (place, query) => request(`${pathOf(place)}?${given(query)}`),

    /** A URL that opens a file of a thread. */
    fileUrl: async (place, id) => (await request(`${pathOf(place)}/attachments/${encodeURIComponent(id)}`)).url,

    /** "take", "messages", "return" or "close". A request with the same `id` is carried out once. */
    change(place, change, body, id = crypto.randomUUID()) {
      const headers = { "content-type": "application/json", "x-chat-turn": id };
      return request(`${pathOf(place)}/${change}`, { method: "POST", headers, body: body ? JSON.stringify(body) : "" });
    },
  };
}
