import { ChatKit, useChatKit } from "@openai/chatkit-react";
import { useEffect, useState } from "react";
import { chatClient } from "./chat-client";

const CHAT_URL = import.meta.env.VITE_CHAT_URL ?? "http://127.0.0.1:8000/chatkit"; // where `make dev` is
const DOMAIN_KEY = import.meta.env.VITE_CHAT_DOMAIN_KEY ?? "any-string-on-localhost";
const TOKEN_URL = import.meta.env.VITE_CHAT_TOKEN_URL; // your own backend's: docs/how-to/backend-tokens.md

/** `make dev` asks for no token; a stage takes the one that your backend signs for who is logged in there. */
async function getToken(): Promise<string | null> {
  if (!TOKEN_URL) return null;
  const answer = await fetch(TOKEN_URL, { credentials: "include" });
  if (!answer.ok) throw new Error(`No token: ${TOKEN_URL} answered ${answer.status}.`);
  return answer.text();
}

const chat = chatClient({ url: CHAT_URL, getToken });

export function Chat() {
  const { control, fetchUpdates } = useChatKit({
    api: { url: chat.url, domainKey: DOMAIN_KEY, fetch: chat.fetch, uploadStrategy: { type: "two_phase" } },
    theme: useColorScheme(),
    initialThread: sessionStorage.getItem("chat.thread"),
    history: { enabled: true, showDelete: true, showRename: true },
    threadItemActions: { feedback: true, retry: true },
    thread: { autoScroll: true },
    composer: { attachments: { enabled: true, maxSize: 20_000_000, maxCount: 10 } },
    onThreadChange: ({ threadId }) =>
      threadId ? sessionStorage.setItem("chat.thread", threadId) : sessionStorage.removeItem("chat.thread"),
    // After a reload the answer may still be on its way: wait for its end, then let ChatKit load it.
    onThreadLoadEnd: async ({ threadId }) => {
      if (await chat.follow(threadId)) await fetchUpdates();
    },
    onError: ({ error }) => console.error(error),
  });
  return <ChatKit control={control} className="chat" />;
}

function useColorScheme(): "light" | "dark" {
  const query = "(prefers-color-scheme: dark)";
  const [dark, setDark] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const follow = () => setDark(media.matches);
    media.addEventListener("change", follow);
    return () => media.removeEventListener("change", follow);
  }, []);
  return dark ? "dark" : "light";
}
