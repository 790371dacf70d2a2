// Markdown to tokens, while it is still being written. What a block is once the next one has begun never changes: such
// blocks are settled, and only the last one is read anew with each delta. So a long answer costs what its last paragraph
// costs, nothing jumps, and what a reader has selected stays selected. Pure.
import { Lexer } from "marked";

/** Text that grows. */
export class Blocks {
  #done = 0; // characters that are settled

  /** The blocks that were settled by this text (told once each), and the one that may still change, or null. */
  take(text, { ended = false } = {}) {
    const tokens = tokensOf(text.slice(this.#done));
    let last = tokens.length - 1;
    while (last >= 0 && tokens[last].type === "space") last--; // a blank line may still be inside of a list
    const settled = ended ? tokens : tokens.slice(0, Math.max(last, 0));
    for (const token of settled) this.#done += token.raw.length;
    return { settled: settled.filter((token) => token.type !== "space"), tail: ended ? null : tokens[last] ?? null };
  }
}

/** All the blocks of a text. */
export const tokensOf = (text) => new Lexer({ gfm: true }).lex(text);
