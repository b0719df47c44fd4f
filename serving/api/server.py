"""The server: its application, with the routes and the web page."""

import asyncio
import contextlib
import re
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.base import RequestResponseEndpoint

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.provenance import all_code
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.serving.api.connections import PromptProtocol
from explain_deepfakes.serving.api.jobs import JobStore
from explain_deepfakes.serving.api.params import ServerParams
from explain_deepfakes.serving.api.problems import add_problem_handlers, problem_response
from explain_deepfakes.serving.api.routes import api, public_routes
from explain_deepfakes.serving.api.state import AppState
from explain_deepfakes.serving.api.workers import WorkerConfig, WorkerPool
from explain_deepfakes.serving.models.default_model import default_model

PAGE = Path(__file__).parents[1] / "page"
HOST_HEADER = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<name>[^:]*))(?::\d*)?")
SECONDS_BETWEEN_SWEEPS = 30.0
SECURITY_HEADERS = {  # load nothing from other sites, and do not let them embed the page
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def create_app(
    params: ServerParams,
    reading: ReadingParams,
    model_path: Path,
    store: JobStore,
    tokens: Sequence[str] = (),
    demo: bool = False,
) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        config = WorkerConfig(model_path.absolute(), params.device, params.threads, params.frames or None, params.backend, demo)
        workers = WorkerPool(config, params.workers, params.max_queued, params.deadline, store.recover())
        app.state.shared = AppState(params, reading, store, workers, tokens)
        sweeper = asyncio.create_task(sweep(store, int(params.max_jobs_gb * 1e9)))
        yield
        sweeper.cancel()
        await asyncio.to_thread(workers.close, params.seconds_to_end)

    app = FastAPI(
        title="Deepfake detection", version=all_code(), lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    add_problem_handlers(app, [*api.routes, *public_routes.routes])

    @app.middleware("http")
    async def check_host(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response: Response
        host = requested_host(request.headers.get("host", ""))
        if not is_allowed_host(host, params):  # DNS rebinding by a page of another site
            response = problem_response(400, f"this server is not '{host}'; use a name of this machine, such as localhost")
        else:
            response = await call_next(request)
        if request.url.path.startswith("/api/"):
            response.headers.setdefault("Cache-Control", "no-store")
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    app.include_router(api)
    app.include_router(public_routes)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def is_allowed_host(host: str, params: ServerParams) -> bool:
    """Whether requests may name this host. With tokens on a public address, any name is allowed unless names are listed."""
    if params.allowed_hosts:
        return host.lower() in {name.lower() for name in params.allowed_hosts} or is_this_machine(host)
    return is_this_machine(host) or not is_this_machine(params.host)


def is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def requested_host(header: str) -> str:
    """The name or address in a Host header, without the port and without the brackets of an IPv6 address."""
    match = HOST_HEADER.fullmatch(header)
    return (match["ipv6"] or match["name"] or "") if match else ""


def server_url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def sweep(store: JobStore, max_bytes: int) -> None:
    """Remove expired jobs from time to time, and the oldest ones if all together are too large."""
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_SWEEPS)
        await asyncio.to_thread(store.remove_expired)
        await asyncio.to_thread(store.remove_oldest, max_bytes)


def read_tokens(path: Path | None) -> list[str]:
    if path is None:
        return []
    if not path.is_file() or not (tokens := path.read_text().split()):
        raise UserError(f"--tokens: {path} should be a file with one token a line")
    return tokens


def serve(params: ServerParams, paths: Namespace) -> None:
    tokens = read_tokens(paths.tokens)
    if not is_this_machine(params.host) and not tokens:
        if not params.allowed_hosts:
            raise UserError(
                f"with --host {params.host}, other machines can use the server: add --tokens FILE with one token a line, or "
                "allow everybody by --allowed_hosts NAME with the name of this server"
            )
        print("warning: everybody who can reach this machine can use the server; restrict it with --tokens", file=sys.stderr)
    model_path = paths.model_path or default_model(bool(paths.demo))
    store = JobStore(paths.jobs, params.keep_minutes)
    app = create_app(params, paths.reading, model_path, store, tokens, bool(paths.demo))
    print(server_url(params.host, params.port), flush=True)
    uvicorn.run(
        app,
        host=params.host,
        port=params.port,
        http=PromptProtocol,
        limit_concurrency=params.max_connections,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )
