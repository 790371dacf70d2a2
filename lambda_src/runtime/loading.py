"""Import the handler that Lambda's Handler setting names. Knows no wire."""

import importlib

from lambda_src.runtime.errors import HandlerError
from lambda_src.runtime.handler import StreamingHandler


def load(name: str) -> StreamingHandler:
    """The handler called `name`: `package.module.name` for a StreamingHandler, `module:app` for any ASGI app.

    Raises HandlerError, or whatever importing the module raises.
    """
    module_name, separator, attribute = name.rpartition(":" if ":" in name else ".")
    if not module_name or not attribute:
        raise HandlerError(
            "Runtime.MalformedHandlerName", f"Handler {name!r} is not package.module.name or module:app."
        )
    module = importlib.import_module(module_name.replace("/", "."))
    try:
        found = getattr(module, attribute)
    except AttributeError as fault:
        text = f"Handler {attribute!r} is missing in module {module_name!r}."
        raise HandlerError("Runtime.HandlerNotFound", text) from fault
    if separator == ":":
        from lambda_src.runtime.adapter import StreamingMangum  # noqa: PLC0415 - Mangum only where it is needed

        found = StreamingMangum(found)
    if isinstance(found, StreamingHandler):
        return found
    text = f"Handler {name!r} is no StreamingHandler: it is {type(found).__name__}. An ASGI app is named module:app."
    raise HandlerError("Runtime.HandlerNotFound", text)


def kind_of(error: BaseException) -> str | None:
    """The type that AWS's own runtime reports for an error while a handler is loaded; None for the exception's own."""
    match error:
        case HandlerError():
            return error.kind
        case ImportError():
            return "Runtime.ImportModuleError"
        case SyntaxError():
            return "Runtime.UserCodeSyntaxError"
        case _:
            return None
