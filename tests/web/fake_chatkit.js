// A stand-in for OpenAI's chatkit.js, which cannot be loaded offline: an <openai-chatkit> element that affects the page
// as the real one does. It has an inline style and a frame in its open shadow root, dispatches chatkit.ready when the
// frame has loaded, and removes the frame when it gives up (because the domain is not on OpenAI's list). It sends
// requests through options.api.fetch, retries streams after a 5xx, and aborts the signal on Stop.
//
// Tests drive it with say(), stop(), load(), ask(), upload() and giveUp(). received.events has the events; options,
// data-color-scheme and data-updates have what the page passed to it.
(() => {
  const FRAME = "https://cdn.platform.openai.com/deployments/chatkit/index.html";
  const TRIES = 5;

  class FakeChatKit extends HTMLElement {
    received = { events: [] };
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
      this.dataset.colorScheme = options.theme?.colorScheme ?? options.theme;
      this.#mount();
    }

    async fetchUpdates() { this.dataset.updates = Number(this.dataset.updates ?? 0) + 1; }

    #mount() {
      if (this.#frame || !this.options || !this.isConnected) return;
      this.#frame = document.createElement("iframe");
      this.#frame.addEventListener("load", () => this.#dispatch("ready"), { once: true });
      this.#frame.src = FRAME;
      this.#shadow.append(this.#frame);
    }

    giveUp() { this.#frame.remove(); }

    #dispatch(name, detail) { this.dispatchEvent(new CustomEvent(`chatkit.${name}`, { detail, bubbles: true, composed: true })); }

    /** Send a request that is not streamed, and return the result. */
    async ask(type, params) {
      const { fetch, url } = this.options.api;
      const headers = { "content-type": "application/json", "chatkit-frame-instance-id": "fake" };
      const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify({ type, params }) });
      const result = await answer.json();
      if (!answer.ok) throw new Error(result.message);
      return result;
    }

    /** Send a message. Resolves with the events of its turn once it ends or is stopped. */
    async say(text, attachments = []) {
      const input = { content: [{ type: "input_text", text }], attachments, inference_options: {} };
      const request = this.threadId
        ? { type: "threads.add_user_message", params: { thread_id: this.threadId, input } }
        : { type: "threads.create", params: { input } };
      this.#stop = new AbortController();
      const before = this.received.events.length;
      try {
        await this.#stream(JSON.stringify(request), this.#stop.signal);
      } catch (error) {
        if (!this.#stop.signal.aborted) throw error;
      }
      return this.received.events.slice(before);
    }

    stop() { this.#stop.abort(); }

    load(threadId) {
      this.threadId = threadId;
      this.#dispatch("thread.change", { threadId });
      this.#dispatch("thread.load.end", { threadId });
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
          this.received.events.push(event);
          if (event.type === "thread.created") {
            this.threadId = event.thread.id;
            this.#dispatch("thread.change", { threadId: event.thread.id });
          }
        }
      }
    }

    /** Create and upload an attachment, and return its ID. */
    async upload(name, mime_type, text) {
      const { upload_descriptor: to, id } = await this.ask("attachments.create", { name, mime_type, size: text.length });
      const answer = await this.options.api.fetch(to.url, { method: to.method, headers: to.headers, body: new Blob([text]) });
      if (!answer.ok) throw new Error(`The bucket answered ${answer.status}.`);
      return id;
    }
  }

  customElements.define("openai-chatkit", FakeChatKit);
})();
