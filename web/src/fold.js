// Folds ThreadStreamEvents into the items of a thread. Pure: knows no page and no network.

/** Apply one event to `items` (id -> item, in the order of arrival). Returns the id of the item that changed, or null. */
export function fold(items, event) {
  switch (event.type) {
    case "thread.item.added": case "thread.item.done": case "thread.item.replaced":
      items.set(event.item.id, event.item); // an id that is there keeps its place
      return event.item.id;
    case "thread.item.removed":
      return items.delete(event.item_id) ? event.item_id : null;
    case "thread.item.updated": {
      const item = items.get(event.item_id);
      if (!item) return null; // of a thread that was read before the item began, or after it was removed
      UPDATES[event.update.type]?.(item, event.update);
      return item.id;
    }
    default:
      return null;
  }
}

/** What each kind of update does to its item. */
const UPDATES = {
  "assistant_message.content_part.added": (item, { content_index, content }) => { item.content[content_index] = content; },
  "assistant_message.content_part.done": (item, { content_index, content }) => { item.content[content_index] = content; },
  "assistant_message.content_part.text_delta": (item, { content_index, delta }) => { part(item, content_index).text += delta; },
  "assistant_message.content_part.annotation_added": (item, { content_index, annotation_index, annotation }) => {
    part(item, content_index).annotations[annotation_index] = annotation;
  },
  "widget.root.updated": (item, { widget }) => { item.widget = widget; },
  "widget.component.updated": (item, { component_id, component }) => {
    item.widget = withComponent(item.widget, component_id, () => component);
  },
  "widget.streaming_text.value_delta": (item, { component_id, delta, done }) => {
    const longer = (text) => ({ ...text, value: (text.value ?? "") + delta, streaming: !done });
    item.widget = withComponent(item.widget, component_id, longer);
  },
  "workflow.task.added": (item, { task, task_index }) => { item.workflow.tasks[task_index] = task; }, // it may be there already
  "workflow.task.updated": (item, { task, task_index }) => { item.workflow.tasks[task_index] = task; },
  "generated_image.updated": (item, { image, progress }) => { Object.assign(item, { image, progress }); },
};

function part(item, index) {
  return item.content[index] ??= { type: "output_text", text: "", annotations: [] };
}

/** A copy of the widget in which the component `id` is what `change` makes of it. */
function withComponent(component, id, change) {
  if (!component || typeof component !== "object") return component;
  if (component.id === id) return change(component);
  const { children } = component;
  if (!children) return component;
  const among = (child) => withComponent(child, id, change);
  return { ...component, children: Array.isArray(children) ? children.map(among) : among(children) };
}

/** The words of a message, as one text. */
export const wordsOf = (item) => (item.content ?? []).map((one) => one.text ?? "").join("");
