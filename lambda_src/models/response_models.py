"""Completes openai's models of a response, the inner ones first, before the Agents SDK is imported.

openai lets pydantic complete a model when it is first used. Each model, event and TypeAdapter that contains another
model then gets its own copy of that model's schema and validator, unless the inner model is complete: the 25 kinds of
output items would be built for a response, for two events of every stream and for adapters of the SDK. Completing the
inner models first makes pydantic share them. Knows no client and no event.
"""

from collections.abc import Iterator
from typing import Any, get_args

from openai import BaseModel
from openai.types.responses import Response


def complete_models() -> None:
    """Complete Response and every model that it contains. A second call does nothing."""
    if not Response.__pydantic_complete__:
        for model in _inner_first(Response, set()):
            model.model_rebuild(raise_errors=False)  # one that is not possible yet is completed when it is used


def _inner_first(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """The models that `model` contains and are not in `seen`, each after those it contains itself."""
    seen.add(model)
    for field in model.model_fields.values():
        for inner in _models_in(field.annotation):
            if inner not in seen:
                yield from _inner_first(inner, seen)
    yield model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any type expression
    """openai's models in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
