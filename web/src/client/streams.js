// Event streams that survive broken connections.
import { ChatError, eventsOf, isFinished } from "./answers.js";
import { TRY_AGAIN_MS, triesOf } from "./tries.js";

/**
 * The events of one turn, parsed. `open(seen)` requests those after the event with that id; null requests all. After a
 * broken connection it is called again, with `pauses` (milliseconds) before each try since the last event.
 */
export async function* eventsAcrossBreaks(open, { seen = null, pauses = TRY_AGAIN_MS, signal, onBreak = () => {} }) {
  const tries = triesOf(signal, pauses);
  while (true) {
    try {
      await tries.next();
      const answer = await open(seen);
      if (isFinished(answer)) return;
      if (!answer.ok) throw await ChatError.of(answer);
      for await (const { id, data } of eventsOf(answer.body)) {
        tries.wentWell();
        seen = id ?? seen;
        yield JSON.parse(data);
      }
      return;
    } catch (error) {
      tries.failed(error);
      onBreak();
    }
  }
}
