"""Tools of the showcase that display something: workflows, progress, notices, sources, mentions, effects."""

import json

from agents import function_tool
from chatkit.types import (
    Annotation,
    AssistantMessageContent,
    AssistantMessageItem,
    ClientEffectEvent,
    CustomSummary,
    CustomTask,
    EntitySource,
    FileSource,
    HiddenContextItem,
    LockedStatus,
    NoticeEvent,
    ProgressUpdateEvent,
    SearchTask,
    Source,
    TaskItem,
    ThreadItemDoneEvent,
    URLSource,
    UserMessageItem,
    UserMessageTagContent,
    Workflow,
)

from lambda_src.dev.showcase.chat import Chat, base


@function_tool
async def work_through_steps(chat: Chat) -> str:
    """Show a workflow of two steps, the first of which is completed while it is shown."""
    steps = chat.context
    await steps.start_workflow(Workflow(type="custom", tasks=[]))
    await steps.add_workflow_task(CustomTask(title="Look", content="into the drawer", status_indicator="loading"))
    await steps.update_workflow_task(
        CustomTask(title="Look", content="into the drawer", status_indicator="complete"), task_index=0
    )
    source = URLSource(title="Example", url="https://example.com/")
    await steps.add_workflow_task(SearchTask(title="Search", queries=["socks"], sources=[source]))
    await steps.end_workflow(CustomSummary(title="Two steps"), expanded=True)
    return "both steps are done"


@function_tool
async def show_a_task(chat: Chat) -> str:
    """Show one task outside a workflow."""
    task = CustomTask(title="Counted", content="all the socks")
    await chat.context.stream(ThreadItemDoneEvent(item=TaskItem(**base(chat, "task"), task=task)))
    return "the task is above"


@function_tool
async def show_progress(chat: Chat) -> str:
    """Show what is happening; nothing is stored."""
    for text in ("Looking ...", "Still looking ..."):
        await chat.context.stream(ProgressUpdateEvent(icon="search", text=text))
    return "found"


@function_tool
async def change_my_page(chat: Chat) -> str:
    """Ask the page to do something (its `onEffect` does it); nothing is stored."""
    await chat.context.stream(ClientEffectEvent(name="set_theme", data={"theme": "dark"}))
    return "the page was told"


@function_tool
async def show_a_notice(chat: Chat) -> str:
    """Show the user something that is not part of the answer; nothing is stored."""
    await chat.context.stream(NoticeEvent(level="info", title="Notice", message="This is **not** kept."))
    return "noticed"


@function_tool
async def cite_your_sources(chat: Chat) -> str:
    """Say a sentence with a page, a file and an entity as its sources."""
    text = "Socks come in pairs."
    sources: list[Source] = [
        URLSource(title="On socks", url="https://example.com/socks"),
        FileSource(title="Inventory", filename="inventory.csv"),
        EntitySource(title="The drawer", id="drawer-1", label="Drawer", interactive=True, data={"floor": 2}),
    ]
    annotations = [Annotation(source=source, index=len(text)) for source in sources]
    content = [AssistantMessageContent(text=text, annotations=annotations)]
    await chat.context.stream(ThreadItemDoneEvent(item=AssistantMessageItem(**base(chat), content=content)))
    return "the sources stand beside the sentence"


@function_tool
async def remember_something(chat: Chat) -> str:
    """Put a note into the thread that the model sees and the user does not."""
    note = HiddenContextItem(**base(chat), content={"favourite": "green socks"})
    await chat.context.stream(ThreadItemDoneEvent(item=note))
    return "noted"


@function_tool
async def who_is_mentioned(chat: Chat) -> str:
    """Report what the mentions (@) of the user's message refer to, as the page sent them."""
    context = chat.context
    page = await context.store.load_thread_items(context.thread.id, None, 20, "desc", context.request_context)
    message = next(item for item in page.data if isinstance(item, UserMessageItem))
    tags = [part for part in message.content if isinstance(part, UserMessageTagContent)]
    return "; ".join(f"{tag.text} is {json.dumps(tag.data)}" for tag in tags) or "nobody"


@function_tool
async def lock_this_thread(chat: Chat) -> str:
    """Lock the thread for further messages, and show a notice."""
    chat.context.thread.status = LockedStatus(reason="It was locked on request.")
    await chat.context.stream(NoticeEvent(level="warning", title="Locked", message="Nothing can be written here now."))
    return "locked"
