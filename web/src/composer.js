// The message composer: text box, attachments, Send and Stop. Does not know where messages go.
import { record } from "./dictation.js";
import { h, iconButton, icon, isSend } from "./dom.js";
import { t } from "./texts.js";
import { TAKEN } from "./uploads.js";

const MODEL = "chat.model"; // keeps the user's choice
const DRAFT = "chat.draft"; // keeps the draft across a reload and a sign-in

/** <chat-composer>: dispatches "say" with { text, attachments, options }, and "stop". */
export class ChatComposer extends HTMLElement {
  #running = false;
  #closed = null;
  #ready = false; // whether a conversation is open
  #recording = null; // of the microphone, or true while it is transcribed
  #trouble = null; // why the last dictation failed
  #wanted = false; // whether Enter was pressed before the message could be sent: it goes as soon as it can

  connectedCallback() {
    this.uploads = h("chat-uploads", { hidden: true, role: "list", "aria-label": t("attached_files") });
    this.text = h("textarea", {
      id: "message", rows: 1, placeholder: t("write_message"), "aria-label": t("message"), "aria-describedby": "composer-hint",
      enterkeyhint: "send", autocomplete: "off",
      oninput: () => { this.#wanted = false; this.#trouble = null; this.#written(); }, onkeydown: (event) => this.#key(event),
      onpaste: (event) => this.#dropped(event, event.clipboardData),
    });
    this.files = h("input", { type: "file", multiple: true, hidden: true, tabindex: "-1", "aria-hidden": "true", onchange: () => {
      this.uploads.add(this.files.files);
      this.files.value = "";
      this.text.focus();
    } });
    this.attach = iconButton("attach", t("attach_files"), () => this.files.click(), { hidden: true });
    this.models = h("select.models", { "aria-label": t("model"), hidden: true, onchange: () => localStorage.setItem(MODEL, this.models.value) });
    this.tools = h("select.models", { "aria-label": t("tool"), hidden: true });
    this.microphone = iconButton("microphone", t("dictate"), () => this.#dictate(), { hidden: true, "aria-pressed": "false" });
    this.button = h("button.send", { type: "submit" });
    this.hint = h("p.hint", { id: "composer-hint", role: "status" });
    const form = h("form", { onsubmit: (event) => { event.preventDefault(); this.#act(); } },
      this.uploads, this.text, h("div.bar", {}, this.attach, this.files, h("span.space"), this.tools, this.models, this.microphone, this.button));
    this.replaceChildren(form, this.hint);
    this.uploads.addEventListener("change", () => this.#uploaded());
    for (const type of ["dragover", "dragleave", "drop"]) document.addEventListener(type, (event) => this.#drag(event));
    this.restore(sessionStorage.getItem(DRAFT) ?? "");
  }

  use(api, features) {
    this.api = api;
    this.uploads.use(api, features);
    this.microphone.hidden = !features.dictation;
    const tools = features.tools ?? [];
    this.tools.replaceChildren(...[{ id: "", label: t("any_tool") }, ...tools].map(({ id, label }) => h("option", { value: id }, label)));
    this.tools.hidden = !tools.length;
    this.takesFiles = features.attachments;
    this.attach.hidden = !features.attachments;
    this.files.accept = TAKEN;
    this.#offer(features.models ?? []);
  }

  focus() { this.text.focus({ preventScroll: true }); }

  /** Put back text that could not be sent. */
  restore(text) {
    if (!this.text.value) this.text.value = text;
    this.#written();
  }

  /** Remove the draft and its files. */
  clear() {
    this.uploads.take();
    this.text.value = "";
    this.#written();
  }

  set running(value) {
    this.#running = value;
    this.#update();
  }

  /** A conversation is open: send what the user tried to send before. */
  ready() {
    this.#ready = true;
    if (this.#wanted) this.#act();
  }

  /** Why nothing can be written here, or null. */
  set closed(reason) {
    this.#closed = reason;
    this.text.disabled = this.attach.disabled = this.microphone.disabled = reason !== null;
    this.text.placeholder = reason === null ? t("write_message") : "";
    this.#update();
  }

  #act() {
    if (this.#running) return this.dispatchEvent(new Event("stop"));
    this.#wanted = this.#complete && !(this.#ready && this.#sendable);
    this.#update();
    if (this.#wanted || !this.#sendable) return;
    const detail = { text: this.text.value.trim(), attachments: this.uploads.take(), options: this.#options };
    this.tools.value = ""; // a tool is chosen for one message
    this.clear();
    this.dispatchEvent(new CustomEvent("say", { detail }));
  }

  /** Send `text` as if the user had written it; a draft and its files stay for later. */
  send(text) {
    if (this.#running || this.#closed !== null || !this.#ready) return;
    this.dispatchEvent(new CustomEvent("say", { detail: { text, attachments: [], options: this.#options } }));
  }

  /** ChatKit's inference options: the model, if there is a choice, and the tool, if there is one. */
  get #options() {
    const { models, tools } = this;
    return { ...(!models.hidden && { model: models.value }), ...(tools.value && { tool_choice: { id: tools.value } }) };
  }

  /** Record, or end the recording and write what was said into the text. */
  async #dictate() {
    if (this.#recording === true) return;
    this.#trouble = null;
    try {
      if (this.#recording) return this.#recording.stop();
      this.#listening(true);
      this.#recording = await record();
      this.#listening(this.#recording);
      const audio = await this.#recording.audio;
      this.#listening(true);
      const { text } = await this.api.call("input.transcribe", audio);
      const { value, selectionStart: from, selectionEnd: to } = this.text;
      this.text.setRangeText(/\S$/.test(value.slice(0, from)) ? ` ${text.trim()}` : text.trim(), from, to, "end");
    } catch (error) {
      this.#trouble = error.message;
    }
    this.#listening(null);
    this.#written();
    this.focus();
  }

  #listening(recording) {
    this.#recording = recording;
    this.microphone.setAttribute("aria-pressed", String(recording !== null));
    this.#update();
  }

  #offer(models) {
    this.models.replaceChildren(...models.map(({ id, label }) => h("option", { value: id }, label)));
    this.models.hidden = models.length < 2;
    const chosen = localStorage.getItem(MODEL);
    if (models.some(({ id }) => id === chosen)) this.models.value = chosen;
  }

  /** Whether there is a message, with files that may still be on their way. */
  get #complete() {
    const files = [...this.uploads.named("sending"), ...this.uploads.named("done")];
    return this.#closed === null && !this.uploads.named("failed").length && Boolean(this.text.value.trim() || files.length);
  }

  get #sendable() { return this.#complete && !this.uploads.named("sending").length; }

  #uploaded() {
    if (this.#wanted && this.#complete && !this.#running) this.#act();
    else this.#update();
  }

  /** What Enter would do, or why the message cannot be sent. */
  get #advice() {
    const [sending, failed, refused] = ["sending", "failed", "refused"].map((state) => this.uploads.named(state));
    const text = (key, names) => t(key, { files: names.join(", "), count: names.length });
    if (this.#closed !== null) return this.#closed;
    if (this.#recording) return t(this.#recording === true ? "listening" : "recording");
    if (this.#trouble) return this.#trouble;
    if (failed.length) return text("upload_failed", failed);
    if (sending.length) return text(this.#wanted ? "sent_after_upload" : "uploading", sending);
    if (refused.length) return text("accepted_not", refused);
    return t("enter_sends");
  }

  #key(event) {
    if (event.key === "Escape" && this.#running) this.dispatchEvent(new Event("stop"));
    if (!isSend(event)) return;
    event.preventDefault();
    if (!this.#running) this.#act();
  }

  /** Files may be dropped anywhere: the browser would leave the page for a file beside the message box. */
  #drag(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    this.classList.toggle("over", event.type === "dragover" && this.takesFiles && this.#closed === null);
    if (event.type === "drop") this.#dropped(event, event.dataTransfer);
  }

  #dropped(event, data) {
    if (!this.takesFiles || this.#closed !== null || !data.files.length) return;
    event.preventDefault();
    this.uploads.add(data.files);
  }

  #written() {
    if (this.text.value) sessionStorage.setItem(DRAFT, this.text.value);
    else sessionStorage.removeItem(DRAFT);
    this.text.style.height = "auto"; // so that it can shrink; the style sheet sets the maximum
    this.text.style.height = `${this.text.scrollHeight}px`;
    this.#update();
  }

  #update() {
    const advice = this.#advice;
    if (this.hint.textContent !== advice) this.hint.textContent = advice;
    this.hint.classList.toggle("usual", advice === t("enter_sends"));
    const action = this.#running ? "stop" : "send";
    if (this.button.value !== action) {
      this.button.value = action;
      this.button.replaceChildren(icon(action));
      this.button.setAttribute("aria-label", (this.button.title = t(action)));
    }
    this.button.setAttribute("aria-disabled", String(!this.#running && !this.#sendable)); // it keeps the focus, unlike a disabled one
  }
}

customElements.define("chat-composer", ChatComposer);
