"""ChatKit's request types by operation, for the isolation matrix and the fuzzer. No app."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from chatkit.types import ChatKitReq
from pydantic import BaseModel

Params = type[BaseModel]


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield every model in an annotation: inside unions, lists, dicts and Annotated."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _operation(request: type[BaseModel]) -> str:
    [operation] = get_args(request.model_fields["type"].annotation)
    return str(operation)


def _params(request: type[BaseModel]) -> Params:
    request.model_rebuild()  # resolves the SDK's string annotations
    [params, *_] = _models_in(request.model_fields["params"].annotation)
    return params


REQUESTS: dict[str, Params] = {_operation(request): _params(request) for request in _models_in(ChatKitReq)}


def paths_of(model: type[BaseModel], *, prefix: str = "", around: tuple[Any, ...] = ()) -> Iterator[str]:
    """Yield the path of every field of a model and of its nested models, such as `input.inference_options.model`."""
    if model in around:
        return
    model.model_rebuild()
    for name, info in model.model_fields.items():
        yield prefix + name
        for inner in _models_in(info.annotation):
            yield from paths_of(inner, prefix=f"{prefix}{name}.", around=(*around, model))
