"""The web page as a person uses it, driven in headless Chromium."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from conftest import Project
from little_server import Server, serving
from little_videos import numbered, write_video
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SECONDS = 60_000  # ms, the timeout of every wait
PICTURES = os.environ.get("PICTURES_OF_THE_PAGE")  # a folder for screenshots

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium; name one in CHROMIUM")


@pytest.fixture(scope="module")
def server(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    flags = ("--jobs", tmp_path_factory.mktemp("jobs"), "--workers", 1, "--max_upload_mb", 1, "--max_seconds", 30)
    with serving(finished.folder, *flags) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(server: Server, browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    errors: list[str] = []
    elsewhere: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request",
        lambda request: (
            elsewhere.append(request.url) if "127.0.0.1" not in request.url[:20] and "data:" not in request.url[:5] else None
        ),
    )
    page.set_default_timeout(SECONDS)
    expect.set_options(timeout=SECONDS)
    page.goto(f"http://127.0.0.1:{server.port}/")
    yield page
    page.close()
    assert errors == []
    assert elsewhere == []


def overlay_is_drawn(page: Page) -> int:
    """Return the number of overlay pixels that are not transparent."""
    count: int = page.evaluate(
        "() => { const c = document.getElementById('overlay'), pen = c.getContext('2d');"
        " return pen.getImageData(0, 0, c.width, c.height).data.filter((value, place) => place % 4 === 3 && value).length; }"
    )
    return count


def test_a_video_goes_in_and_a_verdict_with_its_reasons_comes_out(page: Page, fake: Path, tmp_path: Path) -> None:
    expect(page.locator("#warning")).to_contain_text("trained on drawings only")
    page.set_input_files("#file", fake)
    expect(page.locator("#progress")).to_be_visible()
    expect(page.locator("#verdict")).to_contain_text(re.compile("fake|real"))
    expect(page.locator("#downloads")).to_be_visible()
    page.wait_for_function("() => document.getElementById('video').readyState >= 2")

    page.wait_for_function(
        "() => !document.getElementById('video').seeking && document.getElementById('video').currentTime > 0"
    )
    page.wait_for_timeout(500)  # it moves to the top-scoring frame by itself
    hot = overlay_is_drawn(page)
    page.locator("#opacity").fill("0")
    assert 0 < overlay_is_drawn(page) < hot  # the box remains

    before = page.evaluate("document.getElementById('video').currentTime")
    page.locator("#deciding button").last.click()
    page.wait_for_function("before => document.getElementById('video').currentTime !== before", arg=before)
    page.locator("#people input").first.uncheck()
    page.wait_for_timeout(200)
    assert overlay_is_drawn(page) == 0
    page.locator("#people input").first.check()

    box = page.locator("#timeline").bounding_box()
    assert box
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    page.wait_for_function(
        "() => document.getElementById('video').currentTime > 0.8 * document.getElementById('video').duration"
    )
    page.locator("#time").focus()
    page.keyboard.press("Home")
    page.wait_for_function("() => document.getElementById('video').currentTime === 0")

    with page.expect_download() as download:
        page.locator("#report").click()
    download.value.save_as(tmp_path / "report.html")
    assert "trained on drawings only" in (tmp_path / "report.html").read_text()
    page.reload()
    expect(page.locator("#downloads")).to_be_visible()
    page.wait_for_timeout(500)
    expect(page.locator("#error")).to_be_hidden()


def test_what_is_no_video_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("this is no video")
    page.set_input_files("#file", tmp_path / "notes.mp4")
    expect(page.locator("#error")).to_contain_text("send a video or a picture")
    (tmp_path / "large.mp4").write_bytes(b"\0" * 1_500_000)
    page.set_input_files("#file", tmp_path / "large.mp4")
    expect(page.locator("#error")).to_contain_text("more than 1 MB")
    expect(page.locator("#working")).to_be_hidden()


@pytest.mark.parametrize("frames", [1, 8], ids=["photo", "video"])
def test_a_file_without_faces_says_so_and_nothing_of_a_lost_connection(page: Page, tmp_path: Path, frames: int) -> None:
    pictures = [numbered(index) for index in range(frames)]
    file = tmp_path / ("nobody.png" if frames == 1 else "nobody.mp4")
    if frames == 1:
        cv2.imwrite(str(file), pictures[0])
    else:
        write_video(file, pictures)
    page.set_input_files("#file", file)
    for _ in range(2):
        expect(page.locator("#verdict")).to_contain_text("no face was found")
        expect(page.locator("#downloads")).to_be_visible()
        page.wait_for_timeout(500)  # meanwhile the event stream ends
        expect(page.locator("#error")).to_be_hidden()
        expect(page.locator("#viewer")).to_be_hidden()
        page.reload()  # the page finds the finished job


def test_what_was_begun_can_be_given_up(page: Page, server: Server, fake: Path) -> None:
    page.set_input_files("#file", fake)
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as gone:
        page.wait_for_function("() => location.hash")
        page.locator("#cancel").click()
    assert gone.value.status == 204
    expect(page.locator("#working")).to_be_hidden()
    assert page.evaluate("location.hash") == ""


def test_another_file_leaves_the_first_job_to_the_server_and_back_shows_it(page: Page, fake: Path, tmp_path: Path) -> None:
    page.set_input_files("#file", fake)
    page.wait_for_function("() => location.hash")
    first = page.evaluate("location.hash")
    page.set_input_files("#file", shutil.copy(fake, tmp_path / "another.mp4"))
    page.wait_for_function("first => location.hash && location.hash !== first", arg=first)
    expect(page.locator("#downloads")).to_be_visible()
    page.go_back()
    assert page.evaluate("location.hash") == first
    expect(page.locator("#downloads")).to_be_visible()
    page.go_back()
    expect(page.locator("#result")).to_be_hidden()
    page.evaluate("document.getElementById('video').dispatchEvent(new Event('loadeddata'))")  # late: nothing is shown any more


def test_a_token_is_asked_for_once_and_the_file_is_sent_then(
    finished: Project, browser: Browser, fake: Path, tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_text("sesame")
    flags = ("--tokens", tmp_path / "tokens", "--jobs", tmp_path / "jobs", "--workers", 1)
    with serving(finished.folder, *flags) as server:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.set_input_files("#file", fake)
        page.locator("#token").fill("wrong")
        page.locator("#token-form button").click()
        expect(page.locator("#error")).to_contain_text("token is not valid")
        page.locator("#token").fill("sesame")
        page.locator("#token-form button").click()
        expect(page.locator("#downloads")).to_be_visible(timeout=SECONDS)
        page.wait_for_function("() => document.getElementById('video').readyState >= 2")  # authorised by the cookie
        page.close()


@pytest.mark.parametrize(
    ("name", "width", "scheme"), [("light", 1100, "light"), ("dark", 1100, "dark"), ("phone", 390, "light")]
)
def test_the_page_fits(browser: Browser, server: Server, fake: Path, name: str, width: int, scheme: str) -> None:
    """Nothing is wider than the window, and every control has an accessible name."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.set_input_files("#file", fake)
    expect(page.locator("#downloads")).to_be_visible(timeout=SECONDS)
    page.wait_for_function("() => document.getElementById('video').readyState >= 2")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    nameless = page.evaluate(
        "() => [...document.querySelectorAll('button, input:not([hidden]), a')].filter(one => one.offsetParent && "
        "!(one.innerText || one.labels?.[0]?.innerText || one.ariaLabel)).map(one => one.outerHTML)"
    )
    assert nameless == []
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)
    page.close()


def test_the_evidence_fits_a_phone(finished: Project, fake: Path, browser: Browser, tmp_path: Path) -> None:
    finished.stage("serving/predict.py", fake, "--report", tmp_path / "page.html")
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
