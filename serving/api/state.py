"""The state that all requests share, and the dependencies of the routes: the state, the authorization and the job."""

import asyncio
import hashlib
import hmac
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi import Path as InPath
from starlette.requests import ClientDisconnect

from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.serving.api import uploads
from explain_deepfakes.serving.api.jobs import Job, JobStore
from explain_deepfakes.serving.api.params import ServerParams
from explain_deepfakes.serving.api.problems import Problem
from explain_deepfakes.serving.api.workers import WorkerPool

SECONDS_BETWEEN_CHECKS = 0.15
RETRY_AFTER = "5"  # seconds
COOKIE = "token"
SECONDS_AFTER_WRONG_TOKEN = 1.0
CHECKERS = 2  # uploads that are checked in parallel


@dataclass
class AppState:
    """The state that the routes share."""

    params: ServerParams
    reading: ReadingParams
    store: JobStore
    workers: WorkerPool
    tokens: Sequence[str]
    receiving: int = 0  # uploads in progress, each of which will need a place in the queue
    checkers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(CHECKERS))

    async def accept_upload(self, request: Request, name: str, batch: str = "", annotated: bool = False) -> Job:
        """Store the body of the request and queue a job for it."""
        if self.workers.waiting.full() or self.receiving >= self.params.max_queued:
            raise queue_full()
        if self.workers.load_error and not self.workers.ready:
            raise Problem(503, f"this server cannot load its model: {self.workers.load_error}")
        job, params = self.store.create(uploads.display_name(name), batch, annotated, owner_of(request)), self.params
        self.receiving += 1
        try:
            timeouts = params.seconds_between_bytes, params.seconds_to_send
            await uploads.receive(request.stream(), job.upload, int(params.max_upload_mb * 1e6), *timeouts)
            await self._check_limits(request, job)
            job.write_record()
            if not self.workers.submit(job):
                raise queue_full()
        except BaseException:  # also if the client disconnected
            self.store.remove(job)
            raise
        finally:
            self.receiving -= 1
        return job

    async def _check_limits(self, request: Request, job: Job) -> None:
        """Check an upload in threads that do nothing else. Stop if the client disconnects."""
        is_cancelled = threading.Event()
        check = partial(uploads.check_limits, job.upload, self.reading, self.params, is_cancelled)
        checking = asyncio.get_running_loop().run_in_executor(self.checkers, check)
        try:
            while not checking.done():
                await asyncio.wait({checking}, timeout=SECONDS_BETWEEN_CHECKS)
                if not checking.done() and await request.is_disconnected():
                    raise ClientDisconnect
            await checking
        finally:
            is_cancelled.set()

    async def wait_until_finished(self, job: Job) -> None:
        while not job.is_finished:
            await asyncio.sleep(SECONDS_BETWEEN_CHECKS)

    async def cancel(self, job: Job) -> None:
        """Cancel a job if it has not finished, and remove its files."""
        job.is_cancelled.set()
        while job.id in self.workers.running:
            await asyncio.sleep(SECONDS_BETWEEN_CHECKS)
        await asyncio.to_thread(self.store.remove, job)


def queue_full() -> Problem:
    return Problem(429, f"the queue is full; send the file again in {RETRY_AFTER} seconds", Retry_After=RETRY_AFTER)


def app_state(request: Request) -> AppState:
    state: AppState = request.app.state.shared
    return state


async def authorize(request: Request) -> None:
    """Refuse requests from pages of other sites, and requests without a valid token (header or cookie) if tokens are set."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") or not is_same_origin(request):
        raise Problem(403, "a page of another site may not use this server")
    tokens, token = app_state(request).tokens, token_of(request)
    if tokens and not any(hmac.compare_digest(token.encode(), known.encode()) for known in tokens):
        if token:  # slows down guessing
            await asyncio.sleep(SECONDS_AFTER_WRONG_TOKEN)
        raise Problem(401, "a token is needed: send the header Authorization: Bearer TOKEN", WWW_Authenticate="Bearer")


def token_of(request: Request) -> str:
    return bearer_token(request) or request.cookies.get(COOKIE, "")


def owner_of(request: Request) -> str:
    """A name for the holder of the token, from which the token cannot be computed; empty if the server has no tokens."""
    return hashlib.sha256(token_of(request).encode()).hexdigest() if app_state(request).tokens else ""


def is_same_origin(request: Request) -> bool:
    """Whether the page that sent the request, if it was one, is of this server. Not all browsers send Sec-Fetch-Site."""
    origin = request.headers.get("Origin")
    return not origin or urlsplit(origin).netloc.lower() == request.headers.get("Host", "").lower()


def bearer_token(request: Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


AppStateDep = Annotated[AppState, Depends(app_state)]


def find_job(
    request: Request, state: AppStateDep, id: Annotated[str, InPath(pattern=r"^[\w-]{16}$", examples=["Zk3vPq0aXw1LmN2b"])]
) -> Job:
    job = state.store.get(id)
    if not job or job.owner != owner_of(request):  # that of another token is as if it did not exist
        raise Problem(404, "there is no such job; finished jobs are removed after a while")
    return job


JobDep = Annotated[Job, Depends(find_job)]
