"""From the Handler setting to a handler: the import, and what is said when it fails. Knows no wire."""

import importlib

from lambda_src.runtime.errors import HandlerError
from lambda_src.runtime.handler import BufferedHandler, StreamingHandler


def load(name: str, *, concurrency: int = 1) -> StreamingHandler:
    """The handler that `name` names: `package.module.name`, or `module:app` for any ASGI app.

    HandlerError with the type that AWS's own runtime reports; what the module itself raises comes through as it is,
    an ImportError and a SyntaxError too.
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
        from lambda_src.runtime.adapter import StreamingMangum  # noqa: PLC0415 - a plain function needs no Mangum

        found = StreamingMangum(found)
    if isinstance(found, StreamingHandler):
        return found
    if callable(found):
        return BufferedHandler(found, concurrency=concurrency)
    raise HandlerError("Runtime.HandlerNotFound", f"Handler {name!r} cannot be called: it is {type(found).__name__}.")


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
