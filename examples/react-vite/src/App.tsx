import { Chat } from "./Chat";
import { SCRIPT, useChatKitScript } from "./chatkit-script";

export function App() {
  const script = useChatKitScript();
  if (script === "failed")
    return (
      <main className="notice" role="alert">
        <h1>The chat did not load</h1>
        <p>
          ChatKit comes from {new URL(SCRIPT).host}, and nothing came. Is this computer online, and does the page's
          content security policy or an ad blocker allow that host?
        </p>
        <button onClick={() => location.reload()}>Try again</button>
      </main>
    );
  if (script === "loading")
    return (
      <main className="notice" role="status">
        Loading the chat ...
      </main>
    );
  return <Chat />;
}
