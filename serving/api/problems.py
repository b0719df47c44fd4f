"""HTTP errors as problem+json (RFC 9457): what is wrong, and what to do."""

import errno
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

MEDIA_TYPE = "application/problem+json"
HINTS = {
    404: "there is nothing at this path; see /openapi.json for all paths",
    405: "this path does not support the method; see /openapi.json for those that it supports",
}


class Problem(Exception):
    """An error response; underscores in the names of `headers` stand for hyphens."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def problem_response(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(content, status, headers, MEDIA_TYPE)


def add_problem_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Make the app, with these routes, answer every error as problem+json."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> JSONResponse:
        return problem_response(error.status, error.detail, error.headers)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        status, headers = error.status_code, dict(error.headers or {})
        methods = allowed_methods(request.scope, routes)
        if methods and request.method not in methods:  # a single route, or the static files of the page, would answer 404
            status, headers = HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": ", ".join(sorted(methods))}
        return problem_response(status, HINTS.get(status, str(error.detail)), headers)

    @app.exception_handler(OSError)
    async def _disk(request: Request, error: OSError) -> JSONResponse:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise error
        return problem_response(507, "the disk of this server is full, so the file cannot be stored; send it again later")

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        location = " ".join(str(part) for part in first["loc"])
        return problem_response(422, f"{location}: {first['msg']}")


def allowed_methods(scope: Scope, routes: Sequence[BaseRoute]) -> set[str]:
    """All methods that the requested path supports."""
    matching = [route for route in routes if isinstance(route, Route) and route.matches(scope)[0] != Match.NONE]
    return {name for route in matching for name in route.methods or ()}


class ProblemBody(BaseModel):
    """The body of an error response, as RFC 9457 defines it."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Content Too Large"])
    status: int = Field(examples=[413])
    detail: str = Field(examples=["the file is larger than 500 MB, the limit of this server"])


_PROBLEM_RESPONSE: dict[str, Any] = {
    "description": "What is wrong, in words",
    "content": {MEDIA_TYPE: {"schema": ProblemBody.model_json_schema()}},
}
RESPONSES: dict[int | str, dict[str, Any]] = {422: _PROBLEM_RESPONSE, "default": _PROBLEM_RESPONSE}
