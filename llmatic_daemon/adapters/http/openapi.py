"""The OpenAPI document, made from the route table."""

from collections.abc import Iterable
from typing import Any

from llmatic_daemon.adapters.http.routes import Parameter, Route
from llmatic_daemon.adapters.http.schemas import Problem, schema

#: Error responses of the guard, possible on every route.
_ALWAYS = {
    400: "A parameter is invalid, or a GET has a body.",
    403: "The request comes from another site.",
    421: "The Host header is not allowed.",
}


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the routes.

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
            "description": "Read-only view of a running search.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas, "securitySchemes": {"token": tokens}},
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if route.schema is not None:
        content["schema"] = _named(dict(route.schema), schemas)
    responses: dict[str, Any] = {"200": {"description": route.summary, "content": {route.produces: content}}}
    if route.is_moved:
        responses = {"308": {"description": route.summary}}
    faults = {**_ALWAYS, **(route.faults or {})}
    if route.policy == "token":
        faults[401] = "The API token is missing or wrong."
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
        **({"deprecated": True} if route.is_moved else {}),
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
    """Move the definitions of a schema to the components of the document."""
    schemas.update(found.pop("$defs", {}))
    return found
