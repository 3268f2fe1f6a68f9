"""The OpenAPI document: made from the table of operations, and from the dataclasses they answer with."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Sequence
from typing import Any

from cluster import __version__
from cluster.api.operations import Operation, Parameter
from cluster.api.resources import Problem

#: What any operation may answer.
_ALWAYS = (400, 403, 500, 503)
_TEXTS = {
    400: "Something that was given cannot be so.", 401: "A token is wanted.",
    403: "Not for this caller.", 404: "It is not there.", 408: "The body has not come.",
    409: "Several are meant.", 413: "The body is too long.", 415: "The body is not JSON.",
    500: "A fault of the server.", 503: "Too much at once.", 504: "A worker has not answered.",
}  # fmt: skip


def document(operations: Sequence[Operation], *, has_tokens: bool) -> dict[str, Any]:
    """The whole. ``has_tokens``: who asks must show one."""
    schemas: dict[str, Any] = {}
    problem = _schema(Problem, schemas)
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(
            operation, schemas, problem, has_tokens=has_tokens
        )
    components: dict[str, Any] = {"schemas": schemas}
    if has_tokens:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rtmp-cluster", "version": __version__,
            "description": "One cluster to its operator: any edge or router answers for all of it.",
        },
        "security": [{"token": []}] if has_tokens else [],
        "paths": paths,
        "components": components,
    }  # fmt: skip


def _operation(
    operation: Operation, schemas: dict[str, Any], problem: Any, *, has_tokens: bool
) -> dict[str, Any]:
    statuses = {*_ALWAYS, *operation.problems}
    if has_tokens:
        statuses.add(401)
    made: dict[str, Any] = {
        "operationId": operation.name, "summary": operation.text,
        "parameters": [_parameter(each) for each in operation.parameters],
    }  # fmt: skip
    if operation.body is not None:
        statuses |= {408, 413, 415}
        content = {"application/json": {"schema": _schema(operation.body, schemas)}}
        made["requestBody"] = {"required": False, "content": content}
    said = {"application/problem+json": {"schema": problem}}
    made["responses"] = {
        "200": {
            "description": "Done.",
            "content": {"application/json": {"schema": _schema(operation.answer, schemas)}},
        },
        **{str(status): {"description": _TEXTS[status], "content": said} for status in sorted(statuses)},
    }
    return made


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = dict(parameter.schema)
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name, "in": parameter.place, "required": parameter.place == "path",
        "description": parameter.text, "schema": schema,
    }  # fmt: skip


def _schema(hint: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a type; that of a dataclass goes to ``schemas``, by its name."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in schemas:
            schemas[hint.__name__] = {}  # it may hold others of its kind
            schemas[hint.__name__] = _object(hint, schemas)
        return {"$ref": f"#/components/schemas/{hint.__name__}"}
    plain = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
    if hint in plain:
        return {"type": plain[hint]}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0], schemas)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1], schemas)}
    if origin is typing.Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin is types.UnionType:
        return {"anyOf": [_schema(each, schemas) for each in arguments]}
    raise TypeError(f"{hint} has no schema")


def _object(kind: type, schemas: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    properties = {}
    for each in dataclasses.fields(kind):
        properties[each.name] = {**_schema(hints[each.name], schemas), **each.metadata}
    required = list(properties)
    is_asked = any(each.metadata for each in dataclasses.fields(kind))
    text = " ".join((inspect.getdoc(kind) or "").split()).replace("``", "`")
    return {
        "type": "object", "description": text, "properties": properties,
        "required": [] if is_asked else required, "additionalProperties": False,
    }  # fmt: skip
