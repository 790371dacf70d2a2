"use client";

import Script from "next/script";
import { useEffect, useState } from "react";
import { Chat } from "./chat";

/** OpenAI's only place for it: it cannot be pinned, bundled or served from here. */
const SCRIPT = "https://cdn.platform.openai.com/deployments/chatkit/chatkit.js";
const PATIENCE_MS = 10_000;

export function Loader() {
  const [state, setState] = useState<"loading" | "ready" | "failed">("loading");
  const failed = () => setState((before) => (before === "ready" ? before : "failed"));

  useEffect(() => {
    customElements.whenDefined("openai-chatkit").then(() => setState("ready"));
    const patience = setTimeout(failed, PATIENCE_MS);
    return () => clearTimeout(patience);
  }, []);

  return (
    <>
      <Script src={SCRIPT} onError={failed} />
      {state === "loading" && (
        <main className="notice" role="status">
          Loading the chat ...
        </main>
      )}
      {state === "failed" && (
        <main className="notice" role="alert">
          <h1>The chat did not load</h1>
          <p>
            ChatKit comes from {new URL(SCRIPT).host}, and nothing came. Is this computer online, and does the
            page&rsquo;s content security policy or an ad blocker allow that host?
          </p>
          <button onClick={() => location.reload()}>Try again</button>
        </main>
      )}
      {state === "ready" && <Chat />}
    </>
  );
}
