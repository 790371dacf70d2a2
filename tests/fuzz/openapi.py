"""The requests that the app accepts, as an OpenAPI document.

The routes are the app's own. It reads bodies as bytes, to limit them before they are parsed, so FastAPI does not know
their shape: this module adds it, from the types that parse them.
"""

import re
import warnings
from typing import Any

from chatkit.types import ChatKitReq
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from pydantic.json_schema import PydanticJsonSchemaWarning

from lambda_src.http.request_parsing import Guest, LinkRequest, Stop

REFERENCES = "#/components/schemas/{model}"
JSON = "application/json"
BODIES: dict[str, Any] = {  # the end of a path -> what is posted there
    "/chatkit": ChatKitReq,
    "/stop": Stop,
    "/link": LinkRequest,
    "/auth/guest": Guest,
}
ERROR = {
    "type": "object",
    "required": ["error", "message"],
    "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
    "additionalProperties": False,
}
UPLOAD = {
    "type": "object",
    "required": ["file"],
    "properties": {"file": {"type": "string", "format": "binary"}},
}


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def document(app: FastAPI) -> dict[str, Any]:
    """The document of an app made by create_app."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # HEAD and GET of a route share an operation id; HEAD is left out
        schema = get_openapi(title=app.title, version="1", routes=app.routes)
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    schemas.clear()  # FastAPI's own errors, which the app never answers
    for path, operations in schema["paths"].items():
        operations.pop("head", None)
        for method, operation in operations.items():
            operation["parameters"] = [_in_path(name) for name in re.findall(r"{(\w+)}", path)]
            operation["responses"] = {"200": {"description": "done"}, "default": _refused()}
            if method == "post":
                operation["requestBody"] = _body(path, schemas)
            if path.startswith("/chatkit"):
                operation["security"] = [{"bearer": []}]
    schemas["Error"] = ERROR
    schema["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    return schema


def _body(path: str, schemas: dict[str, Any]) -> dict[str, Any]:
    if path.endswith("/upload"):
        return {"required": True, "content": {"multipart/form-data": {"schema": UPLOAD}}}
    last = path.removesuffix("/{assistant}")
    model = next(model for end, model in BODIES.items() if last.endswith(end))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)  # a default of the SDK's that is a type variable
        schema = TypeAdapter(model).json_schema(ref_template=REFERENCES)
    schemas.update(schema.pop("$defs", {}))
    return {"required": model is not Guest, "content": {JSON: {"schema": schema}}}


def _refused() -> dict[str, Any]:
    reference = {"$ref": REFERENCES.format(model="Error")}
    return {"description": "what is wrong, in a sentence", "content": {JSON: {"schema": reference}}}
