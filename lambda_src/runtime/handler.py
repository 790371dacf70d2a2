"""The interface of what the runtime can run. Knows no ASGI."""

from abc import ABC, abstractmethod
from typing import Any

from lambda_src.runtime.context import LambdaContext
from lambda_src.runtime.reply import Reply


class StreamingHandler(ABC):
    """Answers invocations by writing to a Reply."""

    async def startup(self) -> None:  # noqa: B027 - a handler without a lifespan has nothing to do
        """Once per process, before the first invocation. What it raises becomes an init error."""

    async def shutdown(self) -> None:  # noqa: B027 - as above
        """Once per process, when Lambda announces the end of the sandbox, which it seldom does."""

    @abstractmethod
    async def stream(self, event: Any, context: LambdaContext, reply: Reply) -> None:  # noqa: ANN401 - JSON's edge
        """Answer `event` (decoded JSON) on `reply`. What it raises becomes an error, or trailers once bytes are out.

        It is cancelled, once, when the deadline is near, the answer was refused, or the process must end.
        """
