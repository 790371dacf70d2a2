import { useEffect, useState } from "react";

/** OpenAI's only place for it: it cannot be pinned, bundled or served from here. */
export const SCRIPT = "https://cdn.platform.openai.com/deployments/chatkit/chatkit.js";
const PATIENCE_MS = 10_000;

/** Loads ChatKit's web component, once for the page, and says how that goes. */
export function useChatKitScript(): "loading" | "ready" | "failed" {
  const [state, setState] = useState<"loading" | "ready" | "failed">("loading");

  useEffect(() => {
    const failed = () => setState((before) => (before === "ready" ? before : "failed"));
    const script = document.querySelector<HTMLScriptElement>(`script[src="${SCRIPT}"]`) ?? document.createElement("script");
    script.addEventListener("error", failed);
    if (!script.isConnected) {
      script.src = SCRIPT;
      script.async = true;
      document.head.append(script);
    }
    customElements.whenDefined("openai-chatkit").then(() => setState("ready"));
    const patience = setTimeout(failed, PATIENCE_MS);
    return () => {
      clearTimeout(patience);
      script.removeEventListener("error", failed);
    };
  }, []);

  return state;
}
