// Markdown to HTML (not safe yet), while it is still being written. What a block is once the next one has begun never
// changes: such blocks are settled, and only the last one is made anew with each delta. So a long answer costs what its
// last paragraph costs, nothing jumps, and what a reader has selected stays selected. Pure.
import { Marked } from "marked";

const marked = new Marked({
  gfm: true,
  renderer: {
    // A picture elsewhere tells its server who reads, and what: so it is a link that one may follow.
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || "Picture")}</a>`,
    html: ({ text }) => escaped(text),
  },
});

const escaped = (text) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** Text that grows, as blocks of HTML that is not safe yet: `settled` ones once, and the `tail` each time. Pure. */
export class Blocks {
  #done = 0; // characters that are settled

  /** @returns {{ settled: string[], tail: { html: string, code: { lang: string, text: string } | null } }} */
  take(text, { ended = false } = {}) {
    const tokens = marked.lexer(text.slice(this.#done));
    let last = tokens.length - 1;
    while (last >= 0 && tokens[last].type === "space") last--; // a blank line may still be inside of a list
    const settled = [];
    for (const token of ended ? tokens : tokens.slice(0, Math.max(last, 0))) {
      this.#done += token.raw.length;
      const html = htmlOf([token], tokens.links);
      if (html) settled.push(html);
    }
    const rest = ended || last < 0 ? [] : [tokens[last]];
    const code = rest[0]?.type === "code" ? { lang: rest[0].lang ?? "", text: rest[0].text } : null;
    return { settled, tail: { html: code ? "" : htmlOf(rest, tokens.links), code } };
  }
}

function htmlOf(tokens, links) {
  return marked.parser(Object.assign([...tokens], { links }));
}

/** The same in one go. */
export const toHtml = (text) => marked.parse(text);
