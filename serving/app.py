"""HTTP: a file comes in, a job begins; its progress, verdict, report and pictures go out. The page at / does it for people.

    python serving/app.py [--port 8000] [--model_path CHECKPOINT]

Listens to this machine alone unless --host says otherwise; then give --tokens, a file with one a line.
"""

import asyncio
import contextlib
import hmac
import re
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from pydantic import BaseModel, Field

from pipeline.errors import UserError, run
from pipeline.params import DEVICES, PathFlag, Section, SwitchFlag, read_command_line, setting
from pipeline.provenance import all_code
from preprocessing.video.video import Reading
from serving.http import uploads
from serving.http.jobs import ANNOTATED, DONE, HEAT, PLAYED, Job, Store
from serving.http.problems import RESPONSES, Problem, answer, tell_problems
from serving.http.workers import WorkerConfig, Workers
from serving.models.backends import BACKENDS
from serving.models.default_model import default_model

PAGE = Path(__file__).parent / "page"
HOST_HEADER = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<name>[^:]*))(?::\d*)?")
SECONDS_BETWEEN_EVENTS = 0.15
SECONDS_BETWEEN_SWEEPS = 30.0
RETRY_AFTER = "5"  # seconds
COOKIE = "token"
GUARDS = {  # nothing from elsewhere is loaded, and nobody frames the page
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True)
class Params:
    host: str = setting("who may ask: 127.0.0.1 is this machine alone")
    port: int = setting("where to listen", low=1, high=65535)
    workers: int = setting("processes that examine, each one file at a time", low=1)
    threads: int = setting("of the processor, for each of them", low=1)
    backend: str = setting("what runs the network that judges; maps are PyTorch's in any case", choices=BACKENDS)
    frames: int = setting("of a video, to look at; 0: as many as the network's card says", low=0)
    device: str = setting("where the network runs", choices=DEVICES)
    most_waiting: int = setting("jobs that may wait; more are told to come again", low=1)
    max_upload_mb: float = setting("of a file", low=0.001)
    max_seconds: float = setting("that a video lasts", low=1)
    max_gigapixels: float = setting("of all frames together", low=0.001)
    deadline: float = setting("seconds that a job may take", low=1)
    seconds_between_bytes: float = setting("an upload that falls silent for so long is given up", low=0.1)
    seconds_to_send: float = setting("that an upload may take in all", low=0.1)
    seconds_to_end: float = setting("that running jobs have when the server is told to end", low=0)
    keep_minutes: float = setting("for which a job and its files are kept", low=0.01)


@dataclass
class AppState:
    """What the routes share."""

    params: Params
    reading: Reading
    store: Store
    workers: Workers
    tokens: Sequence[str]
    receiving: int = 0  # uploads under way, each of which will want a place

    async def take(self, request: Request, name: str, batch: str = "", annotated: bool = False) -> Job:
        """The body of the request as a job that waits."""
        if self.workers.waiting.full() or self.receiving >= self.params.most_waiting:
            raise busy()
        if self.workers.unable and not self.workers.able:
            raise Problem(503, f"nothing can be examined here: {self.workers.unable}")
        job, params = self.store.new(uploads.shown_name(name), batch, annotated), self.params
        self.receiving += 1
        try:
            patience = params.seconds_between_bytes, params.seconds_to_send
            await uploads.receive(request.stream(), job.upload, int(params.max_upload_mb * 1e6), *patience)
            await asyncio.to_thread(uploads.check, job.upload, self.reading, params.max_seconds, params.max_gigapixels)
            job.record()
            if not self.workers.submit(job):
                raise busy()
        except BaseException:  # also where the sender hung up
            self.store.remove(job)
            raise
        finally:
            self.receiving -= 1
        return job

    async def over(self, job: Job) -> None:
        while not job.is_over:
            await asyncio.sleep(SECONDS_BETWEEN_EVENTS)

    async def give_up(self, job: Job) -> None:
        job.is_cancelled.set()
        while job.id in self.workers.running:
            await asyncio.sleep(SECONDS_BETWEEN_EVENTS)
        await asyncio.to_thread(self.store.remove, job)


def busy() -> Problem:
    return Problem(429, f"all places are taken; send it again in {RETRY_AFTER} seconds", Retry_After=RETRY_AFTER)


def app_state(request: Request) -> AppState:
    house: AppState = request.app.state.house
    return house


def allowed(request: Request) -> None:
    """No page of another site may ask. Where tokens are set, one must come as a header, or as the cookie that our page sets."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Problem(403, "a page of another site may not ask here")
    tokens = app_state(request).tokens
    given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.cookies.get(COOKIE, "")
    if tokens and not any(hmac.compare_digest(given.encode(), token.encode()) for token in tokens):
        raise Problem(401, "a token is needed: send the header Authorization: Bearer TOKEN", WWW_Authenticate="Bearer")


State = Annotated[AppState, Depends(app_state)]


def job_of(house: State, id: Annotated[str, InPath(pattern=r"^[\w-]{16}$", examples=["Zk3vPq0aXw1LmN2b"])]) -> Job:
    if not (job := house.store.get(id)):
        raise Problem(404, "there is no such job; it may have been removed, for jobs are kept for a while only")
    return job


ThatJob = Annotated[Job, Depends(job_of)]
Name = Annotated[str, Query(max_length=400, description="what to call the file", examples=["interview.mp4"])]
Batch = Annotated[
    str, Query(max_length=60, pattern=r"^[\w-]*$", description="a label of yours, for files that belong together")
]
Annotate = Annotated[bool, Query(description="make a video, too, with boxes, scores and heat in it")]
BODY = {
    "requestBody": {
        "required": True,
        "description": "the file itself",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class JobSeen(BaseModel):
    id: str = Field(examples=["Zk3vPq0aXw1LmN2b"])
    name: str = Field(examples=["interview.mp4"])
    batch: str = Field(examples=["case-7"])
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    doing: str | None = Field(examples=["looking for faces"])
    done: int = Field(examples=[7])
    total: int = Field(examples=[20])
    error: str | None = Field(examples=[None])
    verdict: str | None = Field(
        examples=["fake"], description="real, fake or no verdict; as soon as it is known, which is before the job is done"
    )
    uncertain: bool | None = Field(examples=[False], description="whether the verdict is uncertain")
    reason: str | None = Field(examples=[None], description="why there is no verdict, or why it is uncertain")
    links: dict[str, str] = Field(examples=[{"self": "/api/jobs/Zk3vPq0aXw1LmN2b"}])


class BatchSeen(BaseModel):
    batch: str
    over: int = Field(description="jobs of it that are done, failed or cancelled")
    jobs: list[JobSeen]


open_to_all = APIRouter(responses=RESPONSES)
api = APIRouter(prefix="/api", dependencies=[Depends(allowed)], responses=RESPONSES)


@api.post(
    "/jobs",
    status_code=202,
    openapi_extra=BODY,
    summary="Send a video or a picture; it is examined in the background",
)
async def begin(
    request: Request, house: State, response: Response, name: Name = "upload", batch: Batch = "", annotated: Annotate = False
) -> JobSeen:
    job = await house.take(request, name, batch, annotated)
    response.headers["Location"] = f"/api/jobs/{job.id}"
    return seen(job)


@api.post("/images", openapi_extra=BODY, summary="Send a picture, and wait for what is found in it")
async def image(request: Request, house: State, name: Name = "upload") -> dict[str, Any]:
    job = await house.take(request, name)
    try:
        await house.over(job)
        if job.state != DONE:
            raise Problem(422, job.error or "it was given up")
        return job.found or {}
    finally:
        await house.give_up(job)


@api.get("/jobs/{id}", summary="What has become of a job")
def look(job: ThatJob) -> JobSeen:
    return seen(job)


@api.delete("/jobs/{id}", status_code=204, summary="Give a job up, and remove its files")
async def give_up(job: ThatJob, house: State) -> None:
    await house.give_up(job)


@api.get(
    "/jobs/{id}/events", summary="The same, again whenever it changes (server-sent events)", response_class=EventSourceResponse
)
async def events(job: ThatJob, house: State) -> AsyncIterator[JobSeen]:
    last = -1
    while True:
        changes, is_over = job.changes, job.is_over or house.store.get(job.id) is None
        if changes != last or is_over:
            yield seen(job)
            last = changes
        if is_over:
            return
        await asyncio.sleep(SECONDS_BETWEEN_EVENTS)


@api.get("/jobs/{id}/found", summary="Verdict, people, frames, judge, and how to repeat it")
def found(job: ThatJob) -> dict[str, Any]:
    if not (facts := job.found):
        raise Problem(409, job.error or "nothing is found yet; look again when the job is done")
    return facts


@api.get("/jobs/{id}/report", summary="The evidence, as a page", response_class=FileResponse)
def report(job: ThatJob) -> FileResponse:
    return file_of(job, job.report, "text/html", f"{Path(job.name).stem}.html")


@api.get("/jobs/{id}/report.json", summary="The evidence, as facts that verify.py repeats", response_class=FileResponse)
def report_facts(job: ThatJob) -> FileResponse:
    return file_of(job, job.report.with_suffix(".json"), "application/json", f"{Path(job.name).stem}.json")


@api.get(
    "/jobs/{id}/video", summary="The video as it was examined, in a format that browsers play", response_class=FileResponse
)
def video(job: ThatJob) -> FileResponse:
    return file_of(job, job.folder / PLAYED, "video/mp4")


@api.get(
    "/jobs/{id}/annotated", summary="The video with boxes, scores and heat, where it was asked for", response_class=FileResponse
)
def annotated_video(job: ThatJob) -> FileResponse:
    return file_of(job, job.folder / ANNOTATED, "video/mp4", f"{Path(job.name).stem}_annotated.mp4")


@api.get(
    "/jobs/{id}/heat/{track}/{frame}", summary="What spoke for the verdict, to lie over a face", response_class=FileResponse
)
def heat(job: ThatJob, track: int, frame: int) -> FileResponse:
    path = job.folder / HEAT / f"{track}_{frame}.webp"
    if job.is_over and not path.is_file():
        raise Problem(404, "of that person in that frame there is no map")
    return file_of(job, path, "image/webp")


@api.get("/batches/{batch}", summary="All jobs that were sent under one label")
def of_batch(batch: Annotated[str, InPath(pattern=r"^[\w-]{1,60}$")], house: State) -> BatchSeen:
    jobs = [job for job in house.store.all() if job.batch == batch]
    if not jobs:
        raise Problem(404, "no job has that label")
    return BatchSeen(batch=batch, over=sum(job.is_over for job in jobs), jobs=[seen(job) for job in jobs])


@open_to_all.get("/health", summary="Whether the server answers")
def health() -> dict[str, str]:
    return {"status": "alive"}


@open_to_all.get("/ready", summary="Whether a file would be examined")
def ready(house: State) -> dict[str, Any]:
    if not house.workers.able or house.workers.closing.is_set():
        raise Problem(503, house.workers.unable or "no worker is ready yet", Retry_After=RETRY_AFTER)
    return {"status": "ready", "workers": len(house.workers.able)}


@open_to_all.get("/version", summary="Which judge and which code answer")
def version(house: State) -> dict[str, Any]:
    workers = house.workers
    return {**workers.judge, "code": all_code(), "refused": workers.refuses()}


@open_to_all.get("/metrics", summary="For Prometheus", response_class=Response)
def metrics(house: State) -> Response:
    registry = CollectorRegistry()
    registry.register(Figures(house))
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")


@open_to_all.post("/session", status_code=204, summary="A token as a cookie, for the page")
def session(request: Request, response: Response) -> None:
    allowed(request)
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    response.set_cookie(COOKIE, given, httponly=True, samesite="strict", secure=request.url.scheme == "https")


def seen(job: Job) -> JobSeen:
    found, link = job.found, f"/api/jobs/{job.id}"
    links = {"self": link, "events": f"{link}/events"}
    if found:
        links["found"] = f"{link}/found"
    if job.state == DONE:
        links |= {"report": f"{link}/report", "report.json": f"{link}/report.json", "video": f"{link}/video"}
    if (job.folder / ANNOTATED).is_file():
        links["annotated"] = f"{link}/annotated"
    verdict: dict[str, Any] = {name: found[name] if found else None for name in ("verdict", "uncertain", "reason")}
    return JobSeen(**vars(job), **verdict, links=links)


def file_of(job: Job, path: Path, kind: str, name: str | None = None) -> FileResponse:
    if not path.is_file():
        raise Problem(
            409, job.error or "that is not there: it comes when the job is done, where there are faces and it was asked for"
        )
    return FileResponse(path, media_type=kind, filename=name, content_disposition_type="inline")


class Figures:
    """What Prometheus is told, as it is now."""

    def __init__(self, house: AppState) -> None:
        self.house = house

    def collect(self) -> Any:
        workers = self.house.workers
        ended = CounterMetricFamily("jobs", "that are over", labels=["state"])
        for state, count in workers.finished.items():
            ended.add_metric([state], count)
        yield ended
        yield CounterMetricFamily("workers_lost", "processes that died", workers.lost)
        yield GaugeMetricFamily("jobs_waiting", "that no worker has begun", workers.waiting.qsize())
        yield GaugeMetricFamily("jobs_running", "that a worker is at", len(workers.running))
        yield GaugeMetricFamily("workers_ready", "that can take a job", len(workers.able))
        yield CounterMetricFamily("job_seconds", "spent on jobs that are over", workers.seconds)


def app_of(
    params: Params,
    reading: Reading,
    model_path: Path,
    folder: Path,
    tokens: Sequence[str] = (),
    demo: bool = False,
) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = Store(folder, params.keep_minutes)
        orders = WorkerConfig(model_path.absolute(), params.device, params.threads, params.frames or None, params.backend, demo)
        workers = Workers(orders, params.workers, params.most_waiting, params.deadline, store.recover())
        app.state.house = AppState(params, reading, store, workers, tokens)
        sweeping = asyncio.create_task(sweep(store))
        yield
        sweeping.cancel()
        await asyncio.to_thread(workers.close, params.seconds_to_end)

    app = FastAPI(title="Is the face real?", version=all_code(), lifespan=lifespan, docs_url=None, redoc_url=None)
    tell_problems(app, [*api.routes, *open_to_all.routes])

    @app.middleware("http")
    async def guard(request: Request, call: Any) -> Response:
        response: Response
        host = asked_host(request.headers.get("host", ""))
        if is_this_machine(params.host) and not is_this_machine(host):  # a page elsewhere could reach it by a name of its own
            response = answer(400, f"this server is not '{host}'; it answers to this machine's own names, such as localhost")
        else:
            response = await call(request)
        for name, value in GUARDS.items():
            response.headers.setdefault(name, value)
        return response

    app.include_router(api)
    app.include_router(open_to_all)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def asked_host(header: str) -> str:
    """The name or address in a Host header: without the port, and without an IPv6 address's brackets."""
    parts = HOST_HEADER.fullmatch(header)
    return (parts["ipv6"] or parts["name"] or "") if parts else ""


def address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def sweep(store: Store) -> None:
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_SWEEPS)
        await asyncio.to_thread(store.sweep)


def read_tokens(path: Path | None) -> list[str]:
    if path is None:
        return []
    if not path.is_file() or not (tokens := path.read_text().split()):
        raise UserError(f"--tokens: {path} should be a file with one token a line")
    return tokens


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "serve",
        Params,
        model_path=PathFlag(None, "the checkpoint, or an ensemble's .json (default: the detector that comes with the project)"),
        tokens=PathFlag(None, "a file of tokens, of which each request must bring one"),
        demo=SwitchFlag("use the demo network of `make repro`; also allow a --model_path that has never seen a real face"),
        jobs=PathFlag("data/jobs", "where jobs and their files lie while they are kept"),
        reading=Section("read_video", Reading),
    )
    tokens = read_tokens(paths.tokens)
    if not is_this_machine(params.host) and not tokens:
        print("warning: whoever reaches this machine may send it files; --tokens lets only some", file=sys.stderr)
    model_path = paths.model_path or default_model(bool(paths.demo))
    app = app_of(params, paths.reading, model_path, paths.jobs, tokens, bool(paths.demo))
    print(address(params.host, params.port), flush=True)
    uvicorn.run(app, host=params.host, port=params.port, log_level="warning", timeout_graceful_shutdown=5)


if __name__ == "__main__":
    run(main)
