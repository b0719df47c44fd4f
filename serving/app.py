"""HTTP server: upload a file, follow its job, and get the verdict, report and heatmaps. A web page at / uses the API.

    python serving/app.py [--port 8000] [--model_path CHECKPOINT]

By default it accepts connections from this machine only. With another --host, use --tokens, a file with one token a line.
"""

import asyncio
import contextlib
import hmac
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, Field
from starlette.middleware.base import RequestResponseEndpoint

from pipeline.errors import UserError, run
from pipeline.params import DEVICES, PathFlag, Section, SwitchFlag, read_command_line, setting
from pipeline.provenance import all_code
from preprocessing.video.video import ReadingParams
from serving.api import uploads
from serving.api.jobs import ANNOTATED, DONE, HEAT, PLAYABLE, Job, JobStore
from serving.api.problems import RESPONSES, Problem, add_problem_handlers, problem_response
from serving.api.workers import WorkerConfig, WorkerPool
from serving.examination.records import FileRecord
from serving.models.backends import BACKENDS
from serving.models.default_model import default_model
from serving.models.identity import ServerVersion

PAGE = Path(__file__).parent / "page"
HOST_HEADER = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<name>[^:]*))(?::\d*)?")
SECONDS_BETWEEN_EVENTS = 0.15
SECONDS_BETWEEN_SWEEPS = 30.0
RETRY_AFTER = "5"  # seconds
COOKIE = "token"
SECURITY_HEADERS = {  # load nothing from other sites, and do not let them embed the page
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True)
class ServerParams:
    host: str = setting("address to listen on; 127.0.0.1 accepts connections from this machine only")
    port: int = setting("port to listen on", low=1, high=65535)
    workers: int = setting("number of worker processes; each examines one file at a time", low=1)
    threads: int = setting("CPU threads of each worker", low=1)
    backend: str = setting("runtime of the network; heatmaps always use PyTorch", choices=BACKENDS)
    frames: int = setting("frames to sample from a video; 0: as many as the checkpoint card says", low=0)
    device: str = setting("device that the network runs on", choices=DEVICES)
    most_waiting: int = setting("largest number of waiting jobs; further uploads are refused with status 429", low=1)
    max_upload_mb: float = setting("largest size of a file in MB", low=0.001)
    max_seconds: float = setting("longest duration of a video in seconds", low=1)
    max_gigapixels: float = setting("largest number of pixels in all frames of a video together, in billions", low=0.001)
    deadline: float = setting("longest time that a job may run, in seconds", low=1)
    seconds_between_bytes: float = setting("an upload that sends no data for this many seconds is refused", low=0.1)
    seconds_to_send: float = setting("longest time that an upload may take, in seconds", low=0.1)
    seconds_to_end: float = setting("time for running jobs to finish when the server shuts down, in seconds", low=0)
    keep_minutes: float = setting("time to keep a finished job and its files, in minutes", low=0.01)


@dataclass
class AppState:
    """The state that the routes share."""

    params: ServerParams
    reading: ReadingParams
    store: JobStore
    workers: WorkerPool
    tokens: Sequence[str]
    receiving: int = 0  # uploads in progress, each of which will need a place in the queue

    async def accept_upload(self, request: Request, name: str, batch: str = "", annotated: bool = False) -> Job:
        """Store the body of the request and queue a job for it."""
        if self.workers.waiting.full() or self.receiving >= self.params.most_waiting:
            raise queue_full()
        if self.workers.load_error and not self.workers.ready:
            raise Problem(503, f"this server cannot load its model: {self.workers.load_error}")
        job, params = self.store.create(uploads.display_name(name), batch, annotated), self.params
        self.receiving += 1
        try:
            timeouts = params.seconds_between_bytes, params.seconds_to_send
            await uploads.receive(request.stream(), job.upload, int(params.max_upload_mb * 1e6), *timeouts)
            await asyncio.to_thread(uploads.check_limits, job.upload, self.reading, params.max_seconds, params.max_gigapixels)
            job.write_record()
            if not self.workers.submit(job):
                raise queue_full()
        except BaseException:  # also if the client disconnected
            self.store.remove(job)
            raise
        finally:
            self.receiving -= 1
        return job

    async def wait_until_finished(self, job: Job) -> None:
        while not job.is_finished:
            await asyncio.sleep(SECONDS_BETWEEN_EVENTS)

    async def cancel(self, job: Job) -> None:
        """Cancel a job if it has not finished, and remove its files."""
        job.is_cancelled.set()
        while job.id in self.workers.running:
            await asyncio.sleep(SECONDS_BETWEEN_EVENTS)
        await asyncio.to_thread(self.store.remove, job)


def queue_full() -> Problem:
    return Problem(429, f"the queue is full; send the file again in {RETRY_AFTER} seconds", Retry_After=RETRY_AFTER)


def app_state(request: Request) -> AppState:
    state: AppState = request.app.state.shared
    return state


def authorize(request: Request) -> None:
    """Refuse requests from pages of other sites, and requests without a valid token (header or cookie) if tokens are set."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Problem(403, "a page of another site may not use this server")
    tokens = app_state(request).tokens
    token = bearer_token(request) or request.cookies.get(COOKIE, "")
    if tokens and not any(hmac.compare_digest(token.encode(), known.encode()) for known in tokens):
        raise Problem(401, "a token is needed: send the header Authorization: Bearer TOKEN", WWW_Authenticate="Bearer")


def bearer_token(request: Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


AppStateDep = Annotated[AppState, Depends(app_state)]


def find_job(state: AppStateDep, id: Annotated[str, InPath(pattern=r"^[\w-]{16}$", examples=["Zk3vPq0aXw1LmN2b"])]) -> Job:
    if not (job := state.store.get(id)):
        raise Problem(404, "there is no such job; finished jobs are removed after a while")
    return job


JobDep = Annotated[Job, Depends(find_job)]
Name = Annotated[str, Query(max_length=400, description="name of the file", examples=["interview.mp4"])]
Batch = Annotated[str, Query(max_length=60, pattern=r"^[\w-]*$", description="a label of your choice, to group files")]
Annotate = Annotated[bool, Query(description="also make a video with boxes, scores and heatmaps")]
BODY = {
    "requestBody": {
        "required": True,
        "description": "the file itself",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class JobStatus(BaseModel):
    id: str = Field(examples=["Zk3vPq0aXw1LmN2b"])
    name: str = Field(examples=["interview.mp4"])
    batch: str = Field(examples=["case-7"])
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    doing: str | None = Field(examples=["detecting faces"], description="the current step")
    done: int = Field(examples=[7])
    total: int = Field(examples=[20])
    error: str | None = Field(examples=[None])
    verdict: str | None = Field(
        examples=["fake"], description="real, fake or no verdict; available as soon as it is known, before the job is done"
    )
    uncertain: bool | None = Field(examples=[False], description="whether the verdict is uncertain")
    reason: str | None = Field(examples=[None], description="why there is no verdict, or why it is uncertain")
    links: dict[str, str] = Field(examples=[{"self": "/api/jobs/Zk3vPq0aXw1LmN2b"}])


class BatchStatus(BaseModel):
    batch: str
    over: int = Field(description="number of its jobs that are done, failed or cancelled")
    jobs: list[JobStatus]


class VerdictFields(TypedDict):
    """The fields of a job's status that come from its result."""

    verdict: str | None
    uncertain: bool | None
    reason: str | None


public_routes = APIRouter(responses=RESPONSES)
api = APIRouter(prefix="/api", dependencies=[Depends(authorize)], responses=RESPONSES)


@api.post(
    "/jobs",
    status_code=202,
    openapi_extra=BODY,
    summary="Upload a video or a picture; it is examined in the background",
)
async def submit_job(
    request: Request,
    state: AppStateDep,
    response: Response,
    name: Name = "upload",
    batch: Batch = "",
    annotated: Annotate = False,
) -> JobStatus:
    job = await state.accept_upload(request, name, batch, annotated)
    response.headers["Location"] = f"/api/jobs/{job.id}"
    return job_status(job)


@api.post("/images", openapi_extra=BODY, response_model=dict[str, Any], summary="Upload a picture and wait for the result")
async def examine_image(request: Request, state: AppStateDep, name: Name = "upload") -> FileRecord:
    job = await state.accept_upload(request, name)
    try:
        await state.wait_until_finished(job)
        if job.state != DONE or not (result := job.result):
            raise Problem(422, job.error or "the job was cancelled")
        return result
    finally:
        await state.cancel(job)


@api.get("/jobs/{id}", summary="Get the status of a job")
def get_job(job: JobDep) -> JobStatus:
    return job_status(job)


@api.delete("/jobs/{id}", status_code=204, summary="Cancel a job and remove its files")
async def delete_job(job: JobDep, state: AppStateDep) -> None:
    await state.cancel(job)


@api.get(
    "/jobs/{id}/events",
    summary="Get the status of a job whenever it changes (server-sent events)",
    response_class=EventSourceResponse,
)
async def stream_events(job: JobDep, state: AppStateDep) -> AsyncIterator[JobStatus]:
    last = -1
    while True:
        changes, is_finished = job.changes, job.is_finished or state.store.get(job.id) is None
        if changes != last or is_finished:
            yield job_status(job)
            last = changes
        if is_finished:
            return
        await asyncio.sleep(SECONDS_BETWEEN_EVENTS)


@api.get(
    "/jobs/{id}/found",
    response_model=dict[str, Any],
    summary="Get the verdict, people, frames, model and how to reproduce them",
)
def get_result(job: JobDep) -> FileRecord:
    if not (result := job.result):
        raise Problem(409, job.error or "there is no result yet; ask again when the job is done")
    return result


@api.get("/jobs/{id}/report", summary="Get the evidence as an HTML page", response_class=FileResponse)
def get_report(job: JobDep) -> FileResponse:
    return file_response(job, job.report, "text/html", f"{Path(job.name).stem}.html")


@api.get("/jobs/{id}/report.json", summary="Get the evidence as JSON, for verify.py", response_class=FileResponse)
def get_report_json(job: JobDep) -> FileResponse:
    return file_response(job, job.report.with_suffix(".json"), "application/json", f"{Path(job.name).stem}.json")


@api.get(
    "/jobs/{id}/video", summary="Get the examined frames as a video in a format that browsers play", response_class=FileResponse
)
def get_video(job: JobDep) -> FileResponse:
    return file_response(job, job.folder / PLAYABLE, "video/mp4")


@api.get(
    "/jobs/{id}/annotated",
    summary="Get the video with boxes, scores and heatmaps, if it was requested",
    response_class=FileResponse,
)
def get_annotated_video(job: JobDep) -> FileResponse:
    return file_response(job, job.folder / ANNOTATED, "video/mp4", f"{Path(job.name).stem}_annotated.mp4")


@api.get(
    "/jobs/{id}/heat/{track}/{frame}",
    summary="Get the heatmap of a face for the verdict, to overlay on it",
    response_class=FileResponse,
)
def get_heatmap(job: JobDep, track: int, frame: int) -> FileResponse:
    path = job.folder / HEAT / f"{track}_{frame}.webp"
    if job.is_finished and not path.is_file():
        raise Problem(404, "there is no heatmap of that person in that frame")
    return file_response(job, path, "image/webp")


@api.get("/batches/{batch}", summary="Get all jobs with one label")
def get_batch(batch: Annotated[str, InPath(pattern=r"^[\w-]{1,60}$")], state: AppStateDep) -> BatchStatus:
    jobs = [job for job in state.store.all() if job.batch == batch]
    if not jobs:
        raise Problem(404, "no job has that label")
    return BatchStatus(batch=batch, over=sum(job.is_finished for job in jobs), jobs=[job_status(job) for job in jobs])


@public_routes.get("/health", summary="Whether the server runs")
def get_health() -> dict[str, str]:
    return {"status": "alive"}


@public_routes.get("/ready", summary="Whether a worker is ready to examine files")
def get_readiness(state: AppStateDep) -> dict[str, str | int]:
    if not state.workers.ready or state.workers.closing.is_set():
        raise Problem(503, state.workers.load_error or "no worker is ready yet", Retry_After=RETRY_AFTER)
    return {"status": "ready", "workers": len(state.workers.ready)}


@public_routes.get("/version", response_model=dict[str, Any], summary="The model and the code version in use")
def get_version(state: AppStateDep) -> ServerVersion:
    workers = state.workers
    version: ServerVersion = {"code": all_code(), "refused": workers.current_load_error()}
    return {**workers.model, **version} if workers.model else version


@public_routes.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
def get_metrics(state: AppStateDep) -> Response:
    registry = CollectorRegistry()
    registry.register(JobMetricsCollector(state))
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")


@public_routes.post("/session", status_code=204, summary="Store the token in a cookie, for the web page")
def create_session(request: Request, response: Response) -> None:
    authorize(request)
    is_https = request.url.scheme == "https"
    response.set_cookie(COOKIE, bearer_token(request), httponly=True, samesite="strict", secure=is_https)


def job_status(job: Job) -> JobStatus:
    result, link = job.result, f"/api/jobs/{job.id}"
    links = {"self": link, "events": f"{link}/events"}
    if result:
        links["found"] = f"{link}/found"
    if job.state == DONE:
        links |= {"report": f"{link}/report", "report.json": f"{link}/report.json", "video": f"{link}/video"}
    if (job.folder / ANNOTATED).is_file():
        links["annotated"] = f"{link}/annotated"
    verdict: VerdictFields = {"verdict": None, "uncertain": None, "reason": None}
    if result:
        verdict = {"verdict": result["verdict"], "uncertain": result["uncertain"], "reason": result["reason"]}
    return JobStatus(**vars(job), **verdict, links=links)


def file_response(job: Job, path: Path, media_type: str, name: str | None = None) -> FileResponse:
    if not path.is_file():
        raise Problem(
            409,
            job.error or "this file does not exist: it is made when the job is done, if there are faces and it was requested",
        )
    return FileResponse(path, media_type=media_type, filename=name, content_disposition_type="inline")


class JobMetricsCollector(Collector):
    """The current counts of jobs and workers, for Prometheus."""

    def __init__(self, state: AppState) -> None:
        self.state = state

    def collect(self) -> Iterator[Metric]:
        workers = self.state.workers
        finished = CounterMetricFamily("jobs", "Finished jobs.", labels=["state"])
        for job_state, count in workers.finished.items():
            finished.add_metric([job_state], count)
        yield finished
        yield CounterMetricFamily("workers_lost", "Worker processes that crashed.", workers.crashes)
        yield GaugeMetricFamily("jobs_waiting", "Jobs in the queue.", workers.waiting.qsize())
        yield GaugeMetricFamily("jobs_running", "Jobs that a worker is examining.", len(workers.running))
        yield GaugeMetricFamily("workers_ready", "Workers that can take a job.", len(workers.ready))
        yield CounterMetricFamily("job_seconds", "Seconds spent on finished jobs.", workers.busy_seconds)


def create_app(
    params: ServerParams,
    reading: ReadingParams,
    model_path: Path,
    folder: Path,
    tokens: Sequence[str] = (),
    demo: bool = False,
) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = JobStore(folder, params.keep_minutes)
        config = WorkerConfig(model_path.absolute(), params.device, params.threads, params.frames or None, params.backend, demo)
        workers = WorkerPool(config, params.workers, params.most_waiting, params.deadline, store.recover())
        app.state.shared = AppState(params, reading, store, workers, tokens)
        sweeper = asyncio.create_task(sweep(store))
        yield
        sweeper.cancel()
        await asyncio.to_thread(workers.close, params.seconds_to_end)

    app = FastAPI(title="Deepfake detection", version=all_code(), lifespan=lifespan, docs_url=None, redoc_url=None)
    add_problem_handlers(app, [*api.routes, *public_routes.routes])

    @app.middleware("http")
    async def check_host(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response: Response
        host = requested_host(request.headers.get("host", ""))
        if is_this_machine(params.host) and not is_this_machine(host):  # DNS rebinding by a page of another site
            response = problem_response(400, f"this server is not '{host}'; use a name of this machine, such as localhost")
        else:
            response = await call_next(request)
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    app.include_router(api)
    app.include_router(public_routes)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


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


async def sweep(store: JobStore) -> None:
    """Remove expired jobs from time to time."""
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_SWEEPS)
        await asyncio.to_thread(store.remove_expired)


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
        ServerParams,
        model_path=PathFlag(None, "checkpoint, or .json file of an ensemble (default: the detector shipped with the project)"),
        tokens=PathFlag(None, "file of tokens; every request must then send one of them"),
        demo=SwitchFlag("use the demo network of `make repro`, and allow a --model_path never trained on real faces"),
        jobs=PathFlag("data/jobs", "folder for jobs and their files"),
        reading=Section("read_video", ReadingParams),
    )
    tokens = read_tokens(paths.tokens)
    if not is_this_machine(params.host) and not tokens:
        print("warning: everybody who can reach this machine can use the server; restrict it with --tokens", file=sys.stderr)
    model_path = paths.model_path or default_model(bool(paths.demo))
    app = create_app(params, paths.reading, model_path, paths.jobs, tokens, bool(paths.demo))
    print(server_url(params.host, params.port), flush=True)
    uvicorn.run(app, host=params.host, port=params.port, log_level="warning", timeout_graceful_shutdown=5)


if __name__ == "__main__":
    run(main)
