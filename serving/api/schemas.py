"""The JSON documents of the HTTP API, apart from the results of a job (serving/examination/records.py)."""

from typing import Literal, TypedDict

from pydantic import BaseModel, Field

from explain_deepfakes.serving.api.jobs import ANNOTATED, DONE, Job


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
    finished: int = Field(description="number of its jobs that are done, failed or cancelled")
    jobs: list[JobStatus]


class VerdictFields(TypedDict):
    """The fields of a job's status that come from its result."""

    verdict: str | None
    uncertain: bool | None
    reason: str | None


def job_status(job: Job) -> JobStatus:
    result, link = job.result, f"/api/jobs/{job.id}"
    links = {"self": link, "events": f"{link}/events"}
    if result:
        links["result"] = f"{link}/result"
    if job.state == DONE:
        links |= {"report": f"{link}/report", "report.json": f"{link}/report.json", "video": f"{link}/video"}
    if (job.folder / ANNOTATED).is_file():
        links["annotated"] = f"{link}/annotated"
    verdict: VerdictFields = {"verdict": None, "uncertain": None, "reason": None}
    if result:
        verdict = {"verdict": result["verdict"], "uncertain": result["uncertain"], "reason": result["reason"]}
    return JobStatus(**vars(job), **verdict, links=links)
