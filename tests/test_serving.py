"""The server: the same verdict as the command's, and messages for refused requests."""

import json
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from conftest import Project
from little_server import JobAnswer, Server, serving
from little_videos import numbered, write_video

SMALL_LIMITS = {
    "--max_upload_mb": 1,
    "--max_seconds": 5,
    "--seconds_between_bytes": 1,
    "--seconds_to_send": 3,
    "--max_queued": 2,
    "--workers": 1,
}


@pytest.fixture(scope="module")
def server(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(finished.folder, *chain(*SMALL_LIMITS.items()), "--jobs", tmp_path_factory.mktemp("jobs")) as running:
        yield running


@pytest.fixture(scope="module")
def job(server: Server, fake: Path) -> JobAnswer:
    begun = server.send(fake, batch="case-7", annotated="true")
    assert begun.status == 202
    assert begun.headers["location"] == begun.json()["links"]["self"]
    return server.wait_until_over(begun.json()["links"]["self"])


def test_the_server_finds_what_the_command_finds(finished: Project, server: Server, fake: Path, job: JobAnswer) -> None:
    (expected,) = json.loads(finished.stage("serving/predict.py", fake, "--json", "--demo"))
    served = server.get(job["links"]["result"]).json()
    assert job["verdict"] == served["verdict"] == expected["verdict"]
    assert served["fake_probability"] == pytest.approx(expected["fake_probability"], abs=1e-4)
    scores = [
        [frame["fake_probability"] for person in record["people"] for frame in person["frames"]]
        for record in (served, expected)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert "drawings only" in served["warning"]


def test_a_job_has_its_report_its_video_and_its_heat(server: Server, job: JobAnswer, tmp_path: Path) -> None:
    report = server.get(job["links"]["report"])
    assert report.headers["content-type"].startswith("text/html")
    assert b"trained on drawings only" in report.body
    facts = server.get(job["links"]["report.json"]).json()
    assert facts["how"]["command"].startswith("python serving/predict.py 022_023.mp4 ")
    video = server.get(job["links"]["video"], Range="bytes=0-99")
    assert (video.status, len(video.body)) == (206, 100)
    assert server.get(job["links"]["annotated"]).body[4:8] == b"ftyp"
    person = facts["people"][0]
    heat = server.get(f"{job['links']['self']}/heat/{person['track']}/{person['frames'][0]['frame']}")
    assert (heat.status, heat.body[8:12]) == (200, b"WEBP")
    assert server.get(f"{job['links']['self']}/heat/9/9").status == 404


def test_what_the_server_reports_a_second_examiner_finds_again(
    finished: Project, server: Server, fake: Path, job: JobAnswer, tmp_path: Path
) -> None:
    (tmp_path / "report.json").write_bytes(server.get(job["links"]["report.json"]).body)
    assert finished.stage("serving/verify.py", fake, tmp_path / "report.json").startswith("the same: ")


def test_progress_is_reported_until_the_end(server: Server, fake: Path) -> None:
    begun = server.send(fake).json()
    lines = server.get(begun["links"]["events"]).body.decode().split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    assert events[-1]["state"] == "done"
    assert {event["state"] for event in events} <= {"queued", "running", "done"}
    assert len(events) > 2


def test_files_that_belong_together_are_reported_together(server: Server, job: JobAnswer) -> None:
    batch = server.get("/api/batches/case-7").json()
    assert [item["id"] for item in batch["jobs"]] == [job["id"]]
    assert batch["finished"] == 1
    assert "no job has that label" in server.get("/api/batches/other").problem


def test_a_picture_is_answered_at_once_and_nothing_of_it_stays(server: Server, fake: Path, tmp_path: Path) -> None:
    import cv2

    capture = cv2.VideoCapture(str(fake))
    cv2.imwrite(str(tmp_path / "photo.png"), capture.read()[1])
    capture.release()
    answer = server.request("POST", "/api/images?name=photo.png", (tmp_path / "photo.png").read_bytes())
    assert answer.status == 200
    assert answer.json()["verdict"] in ("real", "fake")
    assert answer.json()["file"] == "photo.png"


def test_a_job_that_is_given_up_is_gone_with_its_files(server: Server, fake: Path) -> None:
    link = server.send(fake).json()["links"]["self"]
    assert server.request("DELETE", link).status == 204
    assert "no such job" in server.get(link).problem
    assert server.request("DELETE", link).status == 404


def test_what_does_not_fit_is_refused_in_words_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    def refused(body: bytes) -> tuple[int, str]:
        answer = server.request("POST", "/api/jobs?name=x.mp4", body)
        return answer.status, answer.problem

    before = server.get("/metrics").body
    long = write_video(tmp_path / "long.mp4", [numbered(index % 8) for index in range(200)])
    assert refused(b"") == (400, "the file is empty; send it as the body of the request")
    status, detail = refused(b"\0" * 1_000_001)
    assert (status, "more than 1 MB" in detail) == (413, True)
    status, detail = refused(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    assert (status, "send a video or a picture" in detail) == (415, True)
    status, detail = refused(long.read_bytes())
    assert (status, "the limit of this server" in detail) == (413, True)
    assert server.get("/metrics").body == before


def test_an_upload_that_falls_silent_is_given_up(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow:
        slow.sendall(b"POST /api/jobs?name=slow.mp4 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
        answer = slow.recv(4000)
    assert answer.startswith(b"HTTP/1.1 408")


def test_an_upload_that_drips_is_given_up(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow:
        slow.sendall(b"POST /api/jobs?name=slow.mp4 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        begun = time.monotonic()
        while time.monotonic() < begun + 4:
            slow.sendall(b"a")
            time.sleep(0.2)
        assert slow.recv(4000).startswith(b"HTTP/1.1 408")


def test_when_the_queue_is_full_the_answer_says_when_to_try_again(server: Server, fake: Path) -> None:
    answers = [server.send(fake) for _ in range(8)]
    assert {answer.status for answer in answers} == {202, 429}
    refused = next(answer for answer in answers if answer.status == 429)
    assert int(refused.headers["retry-after"]) > 0
    assert "the queue is full" in refused.problem
    for answer in answers:
        if answer.status == 202:
            assert server.wait_until_over(answer.json()["links"]["self"])["state"] == "done"


@pytest.mark.parametrize("path", ["/api/jobs/" + "a" * 16, "/api/jobs/..%2F..%2Fetc", "/api/nothing", "/%2e%2e/app.py"])
def test_what_is_not_there_is_said(server: Server, path: str) -> None:
    answer = server.get(path)
    assert answer.status in (404, 422)
    assert answer.problem


def test_names_are_shown_and_never_paths(server: Server, fake: Path) -> None:
    answer = server.request("POST", "/api/jobs?name=..%2F..%2F%00evil%0a.mp4", fake.read_bytes())
    assert answer.json()["name"] == "evil.mp4"
    server.request("DELETE", answer.json()["links"]["self"])


def test_a_page_elsewhere_cannot_ask_under_a_name_of_its_own(server: Server) -> None:
    assert server.get("/version", Host="evil.example").status == 400
    elsewhere = server.request("POST", "/api/jobs?name=x.mp4", b"x", Sec_Fetch_Site="cross-site")
    assert "another site may not use this server" in elsewhere.problem


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("::1", ("[::1]", "localhost:80", "127.0.0.1", "[0:0:0:0:0:0:0:1]:80")),
        ("127.0.0.1", ("[::1]:8000", "LOCALHOST")),
    ],
)
def test_this_machine_is_asked_by_each_of_its_names_and_no_other(
    finished: Project, tmp_path: Path, host: str, names: tuple[str, ...]
) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving(finished.folder, "--jobs", tmp_path / "jobs", "--workers", 1, host=host, is_ready=False) as server:
        assert server.get("/health").status == 200
        assert [server.get("/health", Host=name).status for name in names] == [200] * len(names)
        for name in ("[2001:db8::1]:80", "[::1", "[::1].evil.example", "evil.example", "localhost.evil.example", "::1"):
            assert "this server is not" in server.get("/health", Host=name).problem
        shown = f"[{host}]" if ":" in host else host
        assert server.read_output().splitlines() == [f"http://{shown}:{server.port}"]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_tokens_are_asked_for_where_they_are_set(finished: Project, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("first\nsecond\n")
    flags = ("--tokens", tmp_path / "tokens", "--jobs", tmp_path / "jobs", "--workers", 1)
    with serving(finished.folder, *flags, is_ready=False) as server:
        assert "a token is needed" in server.get("/api/jobs/" + "a" * 16).problem
        assert server.get("/api/jobs/" + "a" * 16, Authorization="Bearer wrong").status == 401
        assert server.get("/api/jobs/" + "a" * 16, Authorization="Bearer second").status == 404
        cookie = server.request("POST", "/session", Authorization="Bearer first").headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert server.get("/api/jobs/" + "a" * 16, Cookie=cookie.split(";")[0]).status == 404


def test_what_waits_when_the_server_ends_is_done_by_the_next(finished: Project, fake: Path, tmp_path: Path) -> None:
    flags = ("--jobs", tmp_path / "jobs", "--workers", 1)
    with serving(finished.folder, *flags) as server:
        links = [server.send(fake).json()["links"]["self"] for _ in range(3)]
        server.wait_for_state(links[0], "running", "done")
        assert server.end() == -signal.SIGTERM  # by the signal it received, after a clean shutdown
    with serving(finished.folder, *flags) as server:
        assert [server.wait_until_over(link)["state"] for link in links] == ["done"] * 3


def test_an_upload_that_the_disk_has_no_space_for_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from explain_deepfakes.serving.api.problems import add_problem_handlers

    app = FastAPI()
    add_problem_handlers(app, app.routes)

    @app.post("/")
    def store() -> None:
        Path("/dev/full").write_text("more than fits")

    answer = TestClient(app).post("/")
    assert answer.status_code == 507
    assert "disk of this server is full" in answer.json()["detail"]


def test_files_go_when_their_time_is_up(finished: Project, fake: Path, tmp_path: Path) -> None:
    from explain_deepfakes.serving.api.jobs import DONE, MARKER, JobStore

    store = JobStore(tmp_path, keep_minutes=0.001)
    job = store.create("a.mp4")
    shutil.copy(fake, job.upload)
    store.remove_expired()
    assert job.upload.is_file()  # it has not finished
    job.set_state(DONE)
    time.sleep(0.1)
    store.remove_expired()
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]
    assert store.get(job.id) is None


def test_a_server_with_a_network_that_never_saw_a_real_face_gives_no_verdict(
    finished: Project, fake: Path, tmp_path: Path
) -> None:
    reason = "this demo model has never seen a real face"
    flags = ("--jobs", tmp_path / "jobs", "--model_path", "data/models/best.safetensors")
    with serving(finished.folder, *flags, demo=False) as strict:
        job = strict.wait_until_over(strict.send(fake).json()["links"]["self"])
        assert (job["state"], job["verdict"], job["uncertain"], job["reason"]) == ("done", "no verdict", False, reason)
        facts = strict.get(job["links"]["report.json"]).json()
        assert (facts["verdict"], facts["fake_probability"], facts["people"]) == ("no verdict", None, [])
        assert reason.encode() in strict.get(job["links"]["report"]).body
        assert strict.get("/version").json()["refusal"] == reason
