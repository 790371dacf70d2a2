// File attachments of the message being written: ChatKit's two-phase upload with a presigned PUT, and its progress.
import { h, icon, iconButton } from "./dom.js";
import { fileSize, t } from "./texts.js";

const MOST_FILES = 10; // in one message; the server's limit
export const TAKEN = "image/png,image/jpeg,image/gif,image/webp,application/pdf,.txt,.md,.csv,.json";

/** <chat-uploads>: the files of the message that is being written. Dispatches "change". */
export class ChatUploads extends HTMLElement {
  #uploads = new Set();

  /** Set the API client and the `features` of the page's configuration. */
  use(api, features) { Object.assign(this, { api, features }); }

  /** Names of the files in a state: "sending", "done", "failed" (trying again may help) or "refused". */
  named(state) { return [...this.#uploads].filter((upload) => upload.state === state).map(({ file }) => file.name); }
  get empty() { return this.#uploads.size === 0; }

  add(files) {
    for (const file of files) {
      const upload = { file, state: "sending", preview: file.type.startsWith("image/") ? URL.createObjectURL(file) : null };
      this.#uploads.add(upload);
      upload.row = this.#drawn(upload);
      this.append(upload.row);
      if (this.#uploads.size > MOST_FILES) this.#fail(upload, t("too_many_files", { count: MOST_FILES }), false);
      else this.#send(upload);
    }
  }

  /** Empty this list and return the attachments that were uploaded; pictures keep their local preview. */
  take() {
    const sent = [...this.#uploads].filter((upload) => upload.state === "done");
    this.#uploads.clear();
    this.replaceChildren();
    this.#changed();
    return sent.map(({ attachment, preview }) => ({ ...attachment, preview_url: preview ?? attachment.preview_url }));
  }

  async #send(upload) {
    const { file, row } = upload;
    upload.state = "sending";
    row.classList.remove("failed");
    row.querySelector(".detail").replaceChildren(progressOf(file));
    this.#changed();
    try {
      const most = file.type.startsWith("image/") ? this.features.max_image_bytes : this.features.max_file_bytes;
      if (file.size > most) return this.#fail(upload, t("larger_than", { size: fileSize(most) }), false);
      upload.removed = new AbortController();
      const onProgress = (share) => { row.querySelector("progress").value = share; };
      upload.attachment = await this.api.upload(file, { signal: upload.removed.signal, onProgress });
      upload.state = "done";
      row.querySelector(".detail").replaceChildren(fileSize(file.size));
    } catch (error) {
      const again = error.status !== 422 && error.status !== 413; // these reject the file itself
      if (this.#uploads.has(upload)) this.#fail(upload, error.message, again);
    }
    this.#changed();
  }

  #fail(upload, message, again) {
    upload.state = again ? "failed" : "refused";
    upload.row.classList.add("failed");
    const retry = h("button.link", { type: "button", onclick: () => this.#send(upload) }, t("try_again"));
    upload.row.querySelector(".detail").replaceChildren(message, " ", again ? retry : "");
    this.#changed();
  }

  #remove(upload) {
    this.#uploads.delete(upload);
    upload.row.remove();
    upload.removed?.abort();
    if (upload.preview) URL.revokeObjectURL(upload.preview);
    if (upload.attachment) this.api.call("attachments.delete", { attachment_id: upload.attachment.id }).catch(() => {}); // it expires by itself
    this.#changed();
  }

  #drawn(upload) {
    const { file, preview } = upload;
    const remove = iconButton("close", t("remove_file", file), () => this.#remove(upload));
    const sign = preview ? h("img", { src: preview, alt: "" }) : h("span.sign", {}, icon("document"));
    return h("div.upload", { role: "listitem" }, sign,
      h("div.about", {}, h("div.name", {}, file.name), h("div.detail", { role: "status" })), remove);
  }

  #changed() {
    this.hidden = this.empty;
    this.dispatchEvent(new Event("change"));
  }
}

const progressOf = (file) => h("progress", { max: 1, value: 0, "aria-label": t("uploading_file", file) });

customElements.define("chat-uploads", ChatUploads);
