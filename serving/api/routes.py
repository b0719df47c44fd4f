"""The routes of the HTTP API."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from explain_deepfakes.pipeline.provenance import all_code
from explain_deepfakes.serving.api.jobs import ANNOTATED, DONE, HEAT, PLAYABLE, Job
from explain_deepfakes.serving.api.problems import RESPONSES, Problem
from explain_deepfakes.serving.api.schemas import BatchStatus, JobStatus, job_status
from explain_deepfakes.serving.api.state import (
    COOKIE,
    RETRY_AFTER,
    AppState,
    AppStateDep,
    JobDep,
    authorize,
    owner_of,
    token_of,
)
from explain_deepfakes.serving.examination.records import FileRecord
from explain_deepfakes.serving.models.identity import ServerVersion

SECONDS_BETWEEN_EVENTS = 0.15
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
    "/jobs/{id}/result",
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
def get_batch(request: Request, batch: Annotated[str, InPath(pattern=r"^[\w-]{1,60}$")], state: AppStateDep) -> BatchStatus:
    jobs = [job for job in state.store.all() if (job.batch, job.owner) == (batch, owner_of(request))]
    if not jobs:
        raise Problem(404, "no job has that label")
    return BatchStatus(batch=batch, finished=sum(job.is_finished for job in jobs), jobs=[job_status(job) for job in jobs])


@public_routes.get("/health", summary="Whether the server runs")
def get_health() -> dict[str, str]:
    return {"status": "alive"}


@public_routes.get("/ready", summary="Whether a worker is ready to examine files")
def get_readiness(state: AppStateDep) -> dict[str, str | int]:
    if not state.workers.ready or state.workers.closing.is_set():
        raise Problem(503, state.workers.load_error or "no worker is ready yet", Retry_After=RETRY_AFTER)
    return {"status": "ready", "workers": len(state.workers.ready)}


@public_routes.get("/openapi.json", include_in_schema=False, dependencies=[Depends(authorize)])
def get_schema(request: Request) -> dict[str, Any]:
    schema: dict[str, Any] = request.app.openapi()
    return schema


@public_routes.get(
    "/version",
    dependencies=[Depends(authorize)],
    response_model=dict[str, Any],
    summary="The model and the code version in use",
)
def get_version(state: AppStateDep) -> ServerVersion:
    workers = state.workers
    version: ServerVersion = {"code": all_code(), "refused": workers.current_load_error()}
    return {**workers.model, **version} if workers.model else version


@public_routes.get("/metrics", dependencies=[Depends(authorize)], summary="Metrics for Prometheus", response_class=Response)
def get_metrics(state: AppStateDep) -> Response:
    registry = CollectorRegistry()
    registry.register(JobMetricsCollector(state))
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")


@public_routes.post("/session", status_code=204, summary="Store the token in a cookie, for the web page")
async def create_session(request: Request, response: Response) -> None:
    await authorize(request)
    is_https = request.url.scheme == "https"
    response.set_cookie(COOKIE, token_of(request), httponly=True, samesite="strict", secure=is_https)


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
