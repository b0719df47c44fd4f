"""What went wrong, for who asked over HTTP: problem+json (RFC 9457) with a sentence that helps."""

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

KIND = "application/problem+json"
WHERE_TO_LOOK = {
    404: "there is nothing here; /openapi.json tells what there is",
    405: "this cannot be asked here; /openapi.json tells what can",
}


class Problem(Exception):
    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def answer(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(content, status, headers, KIND)


def tell_problems(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Every error of this app, with these routes, is told in that form."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> JSONResponse:
        return answer(error.status, error.detail, error.headers)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        status, headers = error.status_code, dict(error.headers or {})
        methods = methods_at(request.scope, routes)
        if methods and request.method not in methods:  # one route alone, or the page's files, cannot tell
            status, headers = HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": ", ".join(sorted(methods))}
        return answer(status, WHERE_TO_LOOK.get(status, str(error.detail)), headers)

    @app.exception_handler(OSError)
    async def _disk(request: Request, error: OSError) -> JSONResponse:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise error
        return answer(507, "the disk of this server is full, so that the file cannot be stored; send it again later")

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = " ".join(str(part) for part in first["loc"])
        return answer(422, f"{where}: {first['msg']}")


def methods_at(scope: Scope, routes: Sequence[BaseRoute]) -> set[str]:
    """All that can be asked of this path."""
    here = [route for route in routes if isinstance(route, Route) and route.matches(scope)[0] != Match.NONE]
    return {name for route in here for name in route.methods or ()}


class ProblemSeen(BaseModel):
    """As RFC 9457 has it."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Content Too Large"])
    status: int = Field(examples=[413])
    detail: str = Field(examples=["the file has more than 500 MB, the most that is taken here"])


_TOLD: dict[str, Any] = {
    "description": "What went wrong, in words",
    "content": {KIND: {"schema": ProblemSeen.model_json_schema()}},
}
RESPONSES: dict[int | str, dict[str, Any]] = {422: _TOLD, "default": _TOLD}
