"""Prewarming: runs a canned turn during INIT, so that the user's first message does not wait for imports and caches.

Lambda's INIT has a full CPU at any memory size, an invocation only its memory's share. The canned turn uses the real
client library (on a transport without a network), the Runner, the server and a store in memory. It uses only public
interfaces and touches nothing of the deployment. Under SnapStart its effects are in the snapshot, without any key or
connection.
"""

import httpx2
from agents import Agent, function_tool
from chatkit.types import InferenceOptions, ThreadCreateParams, ThreadsCreateReq, UserMessageInput
from chatkit.types import UserMessageTextContent as Text

from lambda_src.chat.lazy_server import LazyChatServer
from lambda_src.chat.server import ChatServer
from lambda_src.context import RequestContext, User
from lambda_src.models import providers
from lambda_src.models.demo_model import Output, events_of, message_of, tool_call_of
from lambda_src.observability.faults import log_fault
from lambda_src.runs.dispatcher import AgentDispatcher
from lambda_src.store.memory.store import MemoryStore

NOBODY = RequestContext(user=User("prewarm"), request_id="prewarm")
ANSWER = message_of("Ready when you are.")


async def prewarm(server: LazyChatServer) -> None:
    """Run a canned turn, load the server, build the agent. Logs a failure, which the first message would hit again."""
    try:
        await canned_turn()
        await server.ready()
    except Exception as error:  # noqa: BLE001 - an agent that cannot be built must not end the process
        log_fault("prewarm_failed", error)


async def canned_turn() -> int:
    """Run a turn that calls a tool and then answers. Returns the number of events."""

    @function_tool
    def look() -> str:
        """Look."""
        return "seen"

    answers: list[Output] = [tool_call_of("look"), ANSWER]

    async def respond(_: httpx2.Request) -> httpx2.Response:
        events = [f"event: {event.type}\ndata: {event.model_dump_json()}\n\n" for event in events_of(answers.pop(0))]
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content="".join(events).encode())

    run_config = providers.openai_run_config("none", transport=httpx2.MockTransport(respond))
    store = MemoryStore()
    agent = Agent(name="Prewarm", instructions="Look.", tools=[look], model="none")
    dispatcher = AgentDispatcher(lambda: agent, build_run_config=lambda: run_config)
    server = ChatServer(store, dispatcher, feedback=store)
    message = UserMessageInput(content=[Text(text="hi")], attachments=[], inference_options=InferenceOptions())
    request = ThreadsCreateReq(params=ThreadCreateParams(input=message))
    return len([event async for event in await server.events(request, NOBODY)])
