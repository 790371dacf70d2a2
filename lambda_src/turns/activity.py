"""Activity items: the workflow items that show a turn's tool calls. Pure; knows no tool, no model and no store.

Their ids begin with PREFIX, which tells them apart from workflows that a tool streams itself.
"""

from typing import Literal

from chatkit.types import CustomSummary, ThreadItem, Workflow, WorkflowItem

PREFIX = "activity-"
LISTED = 3  # titles in the summary of an item


def is_activity(item: ThreadItem) -> bool:
    """Whether the item shows tool calls. The model never sees such an item, because it has the calls themselves."""
    return isinstance(item, WorkflowItem) and item.id.startswith(PREFIX)


def ended(item: WorkflowItem, *, running: Literal["none", "complete"] = "none") -> WorkflowItem:
    """The item as it is stored: folded, with its titles as the summary. `running` is the new state of running tasks."""
    tasks = [
        task.model_copy(update={"status_indicator": running}) if task.status_indicator == "loading" else task
        for task in item.workflow.tasks
    ]
    titles = list(dict.fromkeys(task.title for task in tasks if task.title))
    more = f" +{len(titles) - LISTED}" if len(titles) > LISTED else ""
    summary = CustomSummary(title=", ".join(titles[:LISTED]) + more)
    return item.model_copy(update={"workflow": Workflow(type="custom", tasks=tasks, summary=summary)})
