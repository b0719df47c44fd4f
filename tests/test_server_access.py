"""Who may use the server, and how much of it: hosts, origins, tokens, connections, disk space."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Project
from little_server import Server, serving

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.serving.api import connections
from explain_deepfakes.serving.api.jobs import DONE, JobStore, size_of
from explain_deepfakes.serving.models.deployment import fetch_server_version


@pytest.fixture(scope="module")
def with_tokens(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "tokens").write_text("first\nsecond\n")
    flags = ("--tokens", folder / "tokens", "--jobs", folder / "jobs", "--workers", 1, "--max_connections", 20)
    with serving(finished.folder, *flags) as server:
        yield server


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_job_belongs_to_its_token(with_tokens: Server, fake: Path) -> None:
    sent = with_tokens.request("POST", "/api/jobs?name=a.mp4&batch=case", fake.read_bytes(), **bearer("first"))
    link = sent.json()["links"]["self"]
    assert with_tokens.get(link, **bearer("first")).status == 200
    for path in (link, f"{link}/result", f"{link}/events", "/api/batches/case"):
        assert with_tokens.get(path, **bearer("second")).status == 404
    assert with_tokens.request("DELETE", link, **bearer("second")).status == 404
    assert with_tokens.get(link, **bearer("first")).status == 200
    assert with_tokens.request("DELETE", link, **bearer("first")).status == 204


def test_with_tokens_nothing_but_the_health_is_public(with_tokens: Server) -> None:
    for path in ("/version", "/metrics", "/openapi.json", "/api/batches/x"):
        assert with_tokens.get(path).status == 401
    assert with_tokens.get("/openapi.json", **bearer("first")).json()["info"]["title"] == "Deepfake detection"
    assert [with_tokens.get(path).status for path in ("/health", "/ready")] == [200, 200]


def test_a_deployment_asks_a_server_with_tokens_for_its_version(with_tokens: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server = f"http://127.0.0.1:{with_tokens.port}"
    with pytest.raises(UserError, match="set the environment variable SERVER_TOKEN to one of its tokens"):
        fetch_server_version(server)
    monkeypatch.setenv("SERVER_TOKEN", "second")
    assert "model" in fetch_server_version(server)


def test_results_are_not_stored_by_browsers(with_tokens: Server) -> None:
    assert with_tokens.get("/api/batches/none", **bearer("first")).headers["cache-control"] == "no-store"


def test_a_session_that_is_renewed_by_its_cookie_stays(with_tokens: Server) -> None:
    cookie = with_tokens.request("POST", "/session", **bearer("first")).headers["set-cookie"].split(";")[0]
    again = with_tokens.request("POST", "/session", Cookie=cookie).headers["set-cookie"].split(";")[0]
    assert again == cookie


def test_wrong_tokens_are_answered_slowly(with_tokens: Server) -> None:
    begun = time.monotonic()
    assert with_tokens.get("/version", **bearer("wrong")).status == 401
    assert time.monotonic() - begun >= 1


def test_a_page_of_another_origin_is_refused_by_old_browsers_too(with_tokens: Server) -> None:
    own = f"http://127.0.0.1:{with_tokens.port}"
    assert with_tokens.get("/version", Origin="http://evil.example", **bearer("first")).status == 403
    assert with_tokens.get("/version", Origin=own, **bearer("first")).status == 200


def test_connections_without_a_request_do_not_lock_others_out(with_tokens: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = [socket.create_connection(("127.0.0.1", with_tokens.port)) for _ in range(15)]
    for one in silent:
        one.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
    assert with_tokens.get("/health").status == 200
    ends = time.monotonic() + connections.SECONDS_FOR_HEADERS + 20
    for one in silent:
        one.settimeout(max(0.1, ends - time.monotonic()))
        assert one.recv(100) == b""  # closed by the server
        one.close()


def test_other_machines_need_tokens_or_a_named_host(tmp_path: Path, finished: Project) -> None:
    command = [sys.executable, str(CODE / "serving/app.py"), "--host", "0.0.0.0", "--jobs", str(tmp_path / "jobs")]
    refused = subprocess.run(command, cwd=finished.folder, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 2
    assert "add --tokens FILE with one token a line, or allow everybody by --allowed_hosts NAME" in refused.stderr
    flags = ("--jobs", tmp_path / "jobs", "--workers", 1, "--host", "0.0.0.0", "--allowed_hosts", "faces.example.org")
    with serving(finished.folder, *flags, is_ready=False) as server:
        assert server.get("/health", Host="faces.example.org").status == 200
        assert server.get("/health", Host="localhost").status == 200
        assert server.get("/health", Host="evil.example").status == 400


def test_the_oldest_finished_jobs_make_room(tmp_path: Path) -> None:
    store = JobStore(tmp_path, keep_minutes=10)
    jobs = [store.create(name) for name in ("first", "second", "third", "waiting")]
    for job in jobs:
        job.upload.write_bytes(bytes(1000))
    for job in jobs[:3]:
        job.set_state(DONE)
    store.remove_oldest(2 * size_of(jobs[0].folder) + 100)
    assert [job.name for job in store.all()] == ["third", "waiting"]
    assert not jobs[0].folder.exists()
    store.remove_oldest(0)
    assert [job.name for job in store.all()] == ["waiting"]


def test_a_clock_that_jumps_removes_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = JobStore(tmp_path, keep_minutes=10)
    job = store.create("a")
    job.set_state(DONE)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    store.remove_expired()
    assert store.get(job.id)


def test_a_worker_that_dies_while_it_waits_is_replaced(finished: Project, tmp_path: Path) -> None:
    import psutil

    with serving(finished.folder, "--jobs", tmp_path / "jobs", "--workers", 1) as server:
        workers = [p for p in psutil.Process(server.process.pid).children(recursive=True) if p.memory_info().rss > 2e8]
        for process in workers:
            process.kill()
        ends = time.monotonic() + 60
        while server.get("/ready").status == 200 and time.monotonic() < ends:
            time.sleep(0.05)
        while server.get("/ready").status != 200 and time.monotonic() < ends:
            time.sleep(0.1)
        assert server.get("/ready").json()["workers"] == 1
