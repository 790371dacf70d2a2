"""Clients of the strict DynamoDB and of an S3 in memory, over a network with latency and faults.

They stand in for botocore's clients below its retries: a request is tried up to four times, as CLIENT_CONFIG says, and
one whose answer is late or lost may have been applied, then or later. A dead process sends no further attempt; what it
has sent still arrives.
"""

import asyncio
import io
import uuid
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from lambda_src.store import keys
from lambda_src.store.aws_calls import CLIENT_CONFIG
from tests.simulation.faults import READ_TIMEOUT_S, Fate, Fault, Weather
from tests.simulation.loop import SimulatedLoop
from tests.simulation.sources import SECOND, Machine
from tests.simulation.trace import Trace
from tests.store.engine.engine import Engine
from tests.store.engine.objects import Objects

ATTEMPTS = 4
ENDPOINT = "https://aws.invalid"

_config: Any = CLIENT_CONFIG
assert _config.retries == {"mode": "standard", "total_max_attempts": ATTEMPTS}
assert _config.read_timeout == READ_TIMEOUT_S


class Aws:
    """The services. `clients` is for the composition root: one object serves all processes."""

    def __init__(self, loop: SimulatedLoop, trace: Trace, weather: Weather) -> None:
        self.loop, self.trace, self.weather = loop, trace, weather
        self.engine, self.objects = Engine(), Objects()
        self.on_lease: Callable[[str, Mapping[str, Any]], None] = lambda partition, row: None
        self.arrived_ns: dict[tuple[str, str], int] = {}  # when each batch of a journal was stored

    def client(self, service: str, config: object = None) -> Any:
        """composition.aws.Clients."""
        assert service in ("dynamodb", "s3"), service
        return Client(self, service)

    late_client = client

    def expire(self, is_due: Callable[[int], bool]) -> int:
        """Delete rows by their TTL, those that are due; how many."""
        rows = self.engine.rows
        expired = [
            key for key, row in rows.items() if keys.TTL_ATTRIBUTE in row and is_due(int(row[keys.TTL_ATTRIBUTE]["N"]))
        ]
        for key in expired:
            del rows[key]
        return len(expired)


class Client:
    """A client of one service; each attribute is one of its methods."""

    def __init__(self, aws: Aws, service: str) -> None:
        self._aws, self._service = aws, service
        self._methods: dict[str, Method] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "generate_presigned_url":
            return self._presigned
        if name not in self._methods:
            self._methods[name] = Method(self._aws, self._service, name)
        return self._methods[name]

    @staticmethod
    def _presigned(operation: str, *, Params: dict[str, Any], **_: object) -> str:  # noqa: N803 - botocore's own name
        return f"https://{Params['Bucket']}.s3.invalid/{Params['Key']}"


class Method:
    """A client's method. The loop runs its requests as tasks (`remote`); a direct call takes no time."""

    def __init__(self, aws: Aws, service: str, name: str) -> None:
        self._aws, self._service, self._name = aws, service, name
        self.remote = self

    def __call__(self, **params: Any) -> Any:
        return self._apply(params)

    def begin(self, machine: Machine | None, params: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """loop.Remote."""
        return self._request(machine, params)

    async def _request(self, machine: Machine | None, params: dict[str, Any]) -> Any:
        aws = self._aws
        if self._name == "transact_write_items":
            params["ClientRequestToken"] = str(uuid.uuid4())  # as botocore does, once for all attempts
        error: Exception | None = None
        fate = aws.weather.fate(aws.loop.time(), "-" if machine is None else machine.name)
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(aws.weather.pause_s(attempt - 1))
            while machine is not None and machine.state != "running":
                if machine.state == "dead":
                    raise ConnectionClosedError(endpoint_url=ENDPOINT)
                machine.waiting.append(changed := aws.loop.create_future())
                await changed
            try:
                fault = _fault_of(fate, attempt) or aws.weather.fault(aws.loop.time())
                return await self._attempt(machine, params, fault)
            except (ConnectionClosedError, ReadTimeoutError) as broken:
                error = broken
            except ClientError as refused:
                if refused.response["Error"]["Code"] not in ("ThrottlingException", "InternalServerError"):
                    raise
                error = refused
        assert error is not None
        raise error

    async def _attempt(self, machine: Machine | None, params: dict[str, Any], fault: Fault | None) -> Any:
        aws = self._aws
        name = "-" if machine is None else machine.name
        there_s, back_s = aws.weather.one_way_s(), aws.weather.one_way_s()
        if fault == "slow":
            there_s = aws.weather.slow_s()
        late = aws.loop.create_task(self._arrive(there_s, name, params, fault), context=aws.loop.world.copy())
        done, _ = await asyncio.wait({late}, timeout=READ_TIMEOUT_S)
        if not done:
            raise ReadTimeoutError(endpoint_url=ENDPOINT)
        answer = late.result()
        if fault == "lost":
            await asyncio.sleep(READ_TIMEOUT_S - there_s)
            raise ReadTimeoutError(endpoint_url=ENDPOINT)
        await asyncio.sleep(back_s)
        return answer

    async def _arrive(self, there_s: float, sender: str, params: dict[str, Any], fault: Fault | None) -> Any:
        await asyncio.sleep(there_s)
        aws = self._aws
        try:
            match fault:
                case "throttle":
                    raise _error("ThrottlingException", self._name)
                case "500":
                    raise _error("InternalServerError", self._name)
                case "reset":
                    raise ConnectionClosedError(endpoint_url=ENDPOINT)
                case "conflict" if self._name in ("put_item", "update_item", "delete_item"):
                    raise _error("TransactionConflictException", self._name)
                case "conflict" if self._name == "transact_write_items":
                    reasons = [{"Code": "TransactionConflict"}]
                    reasons += [{"Code": "None"}] * (len(params["TransactItems"]) - 1)
                    raise _error("TransactionCanceledException", self._name, CancellationReasons=reasons)
                case "partial" if self._name in ("batch_write_item", "batch_get_item"):
                    answer = self._partial(params)
                case _:
                    answer = self._apply(params)
        except (ClientError, ConnectionClosedError) as error:
            aws.trace.add(self._name, sender, _about(params), fault or "", _code(error))
            raise
        aws.trace.add(self._name, sender, _about(params), fault or "", "ok")
        self._note_writes(params)
        return answer

    def _apply(self, params: dict[str, Any]) -> Any:
        aws = self._aws
        if self._service == "dynamodb":
            return getattr(aws.engine, self._name)(**params)
        aws.objects.now = datetime.fromtimestamp(aws.trace.now_ns / SECOND, UTC)
        if self._name == "put_object" and isinstance(params["Body"], io.IOBase):
            params = {**params, "Body": params["Body"].read()}
        return getattr(aws.objects, self._name)(**{name: value for name, value in params.items() if name != "Bucket"})

    def _note_writes(self, params: dict[str, Any]) -> None:
        """Report each lease that was written, and note when a batch of a journal was stored."""
        items = [action for item in params.get("TransactItems", []) for action in item.values()]
        for action in items if self._name == "transact_write_items" else [params] * (self._name == "update_item"):
            key = action.get("Key", {})
            if key.get(keys.SORT_KEY) == {"S": keys.TURN}:
                row = self._aws.engine.rows.get((key[keys.PARTITION_KEY]["S"], keys.TURN), {})
                self._aws.on_lease(key[keys.PARTITION_KEY]["S"], row)
            elif key.get(keys.SORT_KEY, {}).get("S", "").startswith(keys.EVENTS_PREFIX):
                place = key[keys.PARTITION_KEY]["S"], key[keys.SORT_KEY]["S"]
                self._aws.arrived_ns.setdefault(place, self._aws.trace.now_ns)

    def _partial(self, params: dict[str, Any]) -> Any:
        """Half of a batch; the rest comes back as unprocessed."""
        ((table, batch),) = params["RequestItems"].items()
        if self._name == "batch_write_item":
            half = len(batch) // 2
            if half:
                self._apply({"RequestItems": {table: batch[:half]}})
            return {"UnprocessedItems": {table: batch[half:]}}
        half = len(batch["Keys"]) // 2
        first, rest = {**batch, "Keys": batch["Keys"][:half]}, {**batch, "Keys": batch["Keys"][half:]}
        answer = self._apply({"RequestItems": {table: first}}) if half else {"Responses": {table: []}}
        return {**answer, "UnprocessedKeys": {table: rest}}


def _fault_of(fate: Fate | None, attempt: int) -> Fault | None:
    """What the request's fate means for one of its attempts."""
    match fate:
        case "hiccup":
            return "lost" if attempt == 0 else None
        case "unclear":
            return "lost"
        case "refused":
            return "500"
        case None:
            return None


def _error(code: str, operation: str, **more: object) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "simulated"}, **more}
    return ClientError(response, operation)


def _code(error: Exception) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__


def _about(params: dict[str, Any]) -> str:
    """The keys of a request."""
    match params:
        case {"Key": {"pk": {"S": partition}, "sk": {"S": sort}}} | {
            "Item": {"pk": {"S": partition}, "sk": {"S": sort}}
        }:
            return f"{partition}|{sort}"
        case {"Key": str(key)}:
            return key
        case {"TransactItems": items}:
            return " ".join(_about(action) for item in items for action in item.values())
        case {"ExpressionAttributeValues": {":pk": {"S": partition}}}:
            return f"{partition}|*"
        case {"RequestItems": tables}:
            return f"{sum(len(batch) for batch in tables.values())} in a batch"
        case _:
            return ""
