// A stand-in for OpenAI's chatkit.js, which cannot be loaded offline: an <openai-chatkit> that does to the page around
// it what the real one does. It keeps an inline style and a frame in its open shadow root, says chatkit.ready when the
// frame has loaded, takes the frame out when it gives up (a domain that is not on OpenAI's list), and sends requests
// through options.api.fetch: JSON as it comes, streams again after a 5xx, the signal aborted on Stop.
//
// Tests drive it: say(), stop(), load(), ask(), upload(), giveUp(). The events that came stand in seen.events; what it
// was told, in options, data-color-scheme and data-updates.
(() => {
  const FRAME = "https://cdn.platform.openai.com/deployments/chatkit/index.html";
  const TRIES = 5;

  class FakeChatKit extends HTMLElement {
    seen = { events: [] };
    threadId = null;
    #shadow = this.attachShadow({ mode: "open" });
    #frame = null;
    #stop = null;

    connectedCallback() {
      const style = document.createElement("style");
      style.textContent = ":host { display: block; } iframe { border: 0; width: 100%; height: 100%; }";
      this.#shadow.append(style);
      this.#mount();
    }

    setOptions(options) {
      if (typeof options.api?.url !== "string" || typeof options.api.domainKey !== "string") throw new Error("Invalid input at api");
      this.options = options;
      this.threadId ??= options.initialThread ?? null;
      this.dataset.colorScheme = options.theme;
      this.#mount();
    }

    async fetchUpdates() { this.dataset.updates = Number(this.dataset.updates ?? 0) + 1; }

    #mount() {
      if (this.#frame || !this.options || !this.isConnected) return;
      this.#frame = document.createElement("iframe");
      this.#frame.addEventListener("load", () => this.#tell("ready"), { once: true });
      this.#frame.src = FRAME;
      this.#shadow.append(this.#frame);
    }

    giveUp() { this.#frame.remove(); }

    #tell(name, detail) { this.dispatchEvent(new CustomEvent(`chatkit.${name}`, { detail, bubbles: true, composed: true })); }

    /** A request that is answered at once. */
    async ask(type, params) {
      const { fetch, url } = this.options.api;
      const headers = { "content-type": "application/json", "chatkit-frame-instance-id": "fake" };
      const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify({ type, params }) });
      const result = await answer.json();
      if (!answer.ok) throw new Error(result.message);
      return result;
    }

    /** A message; resolves with the events of its turn, when they have ended or been stopped. */
    async say(text, attachments = []) {
      const input = { content: [{ type: "input_text", text }], attachments, inference_options: {} };
      const asked = this.threadId
        ? { type: "threads.add_user_message", params: { thread_id: this.threadId, input } }
        : { type: "threads.create", params: { input } };
      this.#stop = new AbortController();
      const before = this.seen.events.length;
      try {
        await this.#stream(JSON.stringify(asked), this.#stop.signal);
      } catch (error) {
        if (!this.#stop.signal.aborted) throw error;
      }
      return this.seen.events.slice(before);
    }

    stop() { this.#stop.abort(); }

    load(threadId) {
      this.threadId = threadId;
      this.#tell("thread.change", { threadId });
      this.#tell("thread.load.end", { threadId });
    }

    async #stream(body, signal) {
      const { fetch, url } = this.options.api;
      const headers = { "content-type": "application/json", accept: "text/event-stream" };
      for (let tries = 1; ; tries++) {
        const answer = await fetch(url, { method: "POST", headers, body, signal });
        if (answer.ok) return this.#read(answer);
        if (answer.status < 500 || tries === TRIES) throw new Error((await answer.json()).message);
      }
    }

    async #read(answer) {
      let rest = "";
      for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
        const blocks = (rest + chunk).split("\n\n");
        rest = blocks.pop();
        for (const line of blocks.flatMap((block) => block.split("\n")).filter((line) => line.startsWith("data: "))) {
          const event = JSON.parse(line.slice(6));
          this.seen.events.push(event);
          if (event.type === "thread.created") {
            this.threadId = event.thread.id;
            this.#tell("thread.change", { threadId: event.thread.id });
          }
        }
      }
    }

    /** Both phases; the attachment's id. */
    async upload(name, mime_type, text) {
      const { upload_descriptor: to, id } = await this.ask("attachments.create", { name, mime_type, size: text.length });
      const answer = await this.options.api.fetch(to.url, { method: to.method, headers: to.headers, body: new Blob([text]) });
      if (!answer.ok) throw new Error(`The bucket answered ${answer.status}.`);
      return id;
    }
  }

  customElements.define("openai-chatkit", FakeChatKit);
})();
