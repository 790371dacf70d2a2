// What a thread shows, from the events of its turns. Pure: knows no page and no network.

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
      update(item, event.update);
      return item.id;
    }
    default:
      return null;
  }
}

function update(item, change) {
  switch (change.type) {
    case "assistant_message.content_part.added": case "assistant_message.content_part.done":
      item.content[change.content_index] = change.content;
      break;
    case "assistant_message.content_part.text_delta":
      part(item, change.content_index).text += change.delta;
      break;
    case "assistant_message.content_part.annotation_added":
      part(item, change.content_index).annotations[change.annotation_index] = change.annotation;
      break;
    case "widget.root.updated":
      item.widget = change.widget;
      break;
    case "widget.component.updated":
      item.widget = withComponent(item.widget, change.component_id, () => change.component);
      break;
    case "widget.streaming_text.value_delta":
      item.widget = withComponent(item.widget, change.component_id, (text) => (
        { ...text, value: (text.value ?? "") + change.delta, streaming: !change.done }));
      break;
    case "workflow.task.added": case "workflow.task.updated":
      item.workflow.tasks[change.task_index] = change.task; // the added item may hold it already
      break;
    case "generated_image.updated":
      item.image = change.image;
      item.progress = change.progress;
      break;
  }
}

function part(item, index) {
  item.content[index] ??= { type: "output_text", text: "", annotations: [] };
  return item.content[index];
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
