"""The naive chat server that bench_cold.py compares with: FastAPI, Mangum, boto3.resource, AsyncOpenAI, ChatKitServer.

Everything is imported eagerly. It has no authentication, no turns and a single user.
"""

import os
from typing import Any

import boto3
from agents import Agent, OpenAIResponsesModel, Runner, function_tool
from boto3.dynamodb.conditions import Key
from chatkit.agents import AgentContext, ThreadItemConverter, stream_agent_response
from chatkit.server import ChatKitServer, StreamingResult
from chatkit.store import NotFoundError, Store
from chatkit.types import Page, ThreadItem, ThreadMetadata
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from mangum import Mangum
from openai import AsyncOpenAI
from pydantic import TypeAdapter

table = boto3.resource("dynamodb").Table(os.environ["CHAT_TABLE"])
client = AsyncOpenAI(api_key="none", base_url=os.environ["OPENAI_BASE_URL"])
items: TypeAdapter[ThreadItem] = TypeAdapter(ThreadItem)


@function_tool
def look() -> str:
    """Look."""
    return "seen"


agent = Agent(name="Naive", model=OpenAIResponsesModel("a-model", client), tools=[look])


class TableStore(Store[Any]):
    """Stores threads and items in the table, and nothing else."""

    async def load_thread(self, thread_id: str, context: Any) -> ThreadMetadata:
        row = table.get_item(Key={"pk": "NAIVE", "sk": thread_id}).get("Item")
        if row is None:
            raise NotFoundError(thread_id)
        return ThreadMetadata.model_validate_json(str(row["json"]))

    async def save_thread(self, thread: ThreadMetadata, context: Any) -> None:
        table.put_item(Item={"pk": "NAIVE", "sk": thread.id, "order": thread.id, "json": thread.model_dump_json()})

    async def load_threads(self, limit: int, after: str | None, order: str, context: Any) -> Page[ThreadMetadata]:
        result = table.query(KeyConditionExpression=Key("pk").eq("NAIVE"), Limit=limit, ScanIndexForward=order == "asc")
        return Page(data=[ThreadMetadata.model_validate_json(str(row["json"])) for row in result["Items"]])

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: Any
    ) -> Page[ThreadItem]:
        result = table.query(
            KeyConditionExpression=Key("pk").eq(thread_id), Limit=limit, ScanIndexForward=order == "asc"
        )
        return Page(data=[items.validate_json(str(row["json"])) for row in result["Items"]])

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: Any) -> None:
        row = {"pk": thread_id, "sk": item.id, "order": item.created_at.isoformat(), "json": item.model_dump_json()}
        table.put_item(Item=row)

    save_item = add_thread_item

    async def load_item(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    load_attachment = save_attachment = delete_attachment = delete_thread = delete_thread_item = load_item


class NaiveServer(ChatKitServer[Any]):
    """ChatKit's example server, with the last ten items as history."""

    async def respond(self, thread: ThreadMetadata, input_user_message: Any, context: Any) -> Any:
        page = await self.store.load_thread_items(thread.id, None, 10, "desc", context)
        history = await ThreadItemConverter().to_agent_input(page.data[::-1])
        agent_context = AgentContext(thread=thread, store=self.store, request_context=context)
        async for event in stream_agent_response(
            agent_context, Runner.run_streamed(agent, history, context=agent_context)
        ):
            yield event


server = NaiveServer(TableStore())
app = FastAPI()


@app.post("/chatkit")
async def chatkit(request: Request) -> Response:
    """ChatKit's only endpoint."""
    result = await server.process(await request.body(), {})
    if isinstance(result, StreamingResult):
        return StreamingResponse(result, media_type="text/event-stream")
    return Response(result.json, media_type="application/json")


handler = Mangum(app, lifespan="off")
