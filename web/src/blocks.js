// Splits streamed Markdown into blocks. A block is settled once the next one has begun, and only the last block is
// parsed again with each delta. So the cost of a delta depends on the last paragraph, nothing jumps, and selections
// survive. Pure.
import { Marked } from "marked";
import { formulas } from "./tex.js";

/** Text that grows. */
export class Blocks {
  #done = 0; // characters that are settled

  /** The blocks that became settled with this text, and the one that may still change, or null. */
  take(text, { ended = false } = {}) {
    const tokens = tokensOf(text.slice(this.#done));
    let last = tokens.length - 1;
    while (last >= 0 && tokens[last].type === "space") last--; // a blank line may still be inside a list
    const settled = ended ? tokens : tokens.slice(0, Math.max(last, 0));
    for (const token of settled) this.#done += token.raw.length;
    return { settled: settled.filter((token) => token.type !== "space"), tail: ended ? null : tokens[last] ?? null };
  }
}

const marked = new Marked({ gfm: true, extensions: formulas });

/** All the blocks of a text; one block if it is nested too deeply to be parsed. */
export function tokensOf(text) {
  try {
    return marked.lexer(text);
  } catch {
    return [{ type: "paragraph", raw: text, tokens: [{ type: "text", raw: text, text }] }];
  }
}
