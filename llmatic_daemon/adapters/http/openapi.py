"""The OpenAPI document, made from the route table."""

from collections.abc import Iterable
from typing import Any

from llmatic_daemon.adapters.http.routes import Parameter, Route
from llmatic_daemon.adapters.http.schemas import Problem, schema

#: What the guard answers on any route.
_ALWAYS = {
    400: "A parameter is not as it must be, or a GET has a body.",
    403: "Another site asks.",
    421: "Asked under a name that is not ours.",
}


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """Describe routes in OpenAPI 3.1.

    Args:
        routes: The table.
        version: Of the daemon.
    """
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    problem = _named(schema(Problem), schemas)
    schemas["Problem"] = problem
    tokens = {"type": "http", "scheme": "bearer"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "llmatic-daemon",
            "version": version,
            "description": "A running search, to be watched. Nothing can be changed here.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas, "securitySchemes": {"token": tokens}},
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if route.schema is not None:
        content["schema"] = _named(dict(route.schema), schemas)
    responses = {"200": {"description": route.summary, "content": {route.produces: content}}}
    faults = {**_ALWAYS, **(route.faults or {})}
    if route.policy == "token":
        faults[401] = "The API's token is missing or wrong."
    for status, description in sorted(faults.items()):
        reference = {"schema": {"$ref": "#/components/schemas/Problem"}}
        responses[str(status)] = {
            "description": description,
            "content": {"application/problem+json": reference},
        }
    operation: dict[str, Any] = {
        "summary": route.summary,
        "parameters": [_parameter(each) for each in route.parameters],
        "responses": responses,
    }
    return {**operation, "security": [{"token": []}]} if route.policy == "token" else operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.where == "path",
        "description": parameter.meaning,
        "schema": parameter.schema,
    }


def _named(found: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Move the definitions of a schema to where the document keeps all of them."""
    schemas.update(found.pop("$defs", {}))
    return found
