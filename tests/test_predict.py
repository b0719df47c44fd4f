"""predict.py: a verdict with its evidence for a file, and a report that verify.py reproduces."""

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from conftest import Project
from little_videos import numbered, write_video
from rich.console import Console

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.preprocessing.crops.crops import read_crops
from explain_deepfakes.serving.examination.predictions import print_verdict
from explain_deepfakes.serving.examination.records import FileRecord
from explain_deepfakes.serving.examination.verification import differences, read_report

TESTS = "results/tests"


@pytest.fixture(scope="module")
def evidence(finished: Project, fake: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A fake of the small corpus, under a name with a space, and its report page."""
    folder = tmp_path_factory.mktemp("evidence")
    video = folder / "my video.mp4"
    shutil.copy(fake, video)
    finished.stage("serving/predict.py", video, "--report", folder / "page.html", "--demo")
    return video, folder / "page.html"


def facts_in(page: Path) -> FileRecord:
    facts: FileRecord = json.loads(page.with_suffix(".json").read_text())
    return facts


def test_the_page_opens_offline_and_says_what_a_court_asks(evidence: tuple[Path, Path]) -> None:
    _, page = evidence
    text, facts = page.read_text(), facts_in(page)
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", text)
    assert "http" not in re.sub(r"data:image/webp;base64,[\w+/=]+", "", text)
    assert "trained on drawings only" in text
    assert facts["video"]["sha256"] in text
    assert (facts["video"]["codec"], facts["video"]["width"], facts["video"]["height"]) == ("h264", 320, 240)
    assert facts["tested"]["videos"] > 0
    assert 0 <= facts["tested"]["miss_rate"]["value"] <= 1
    assert "real videos called fake" in text
    assert "python serving/predict.py 'my video.mp4'" in facts["how"]["command"]
    assert facts["how"]["verify"].startswith("python serving/verify.py 'my video.mp4' REPORT.json --model_path data/models/")
    decided = [frame for person in facts["people"] for frame in person["frames"] if frame["decided"]]
    assert text.count("data:image/webp") == 2 * len(decided) + 1  # the timeline
    assert all(0 <= frame["heat_confidence"] <= 1 for person in facts["people"] for frame in person["frames"])


def test_frames_are_scored_as_the_stages_score_them(finished: Project, evidence: tuple[Path, Path]) -> None:
    lines = (finished.folder / TESTS / "frames.csv").read_text().splitlines()
    columns = lines[0].split(",")
    rows = [dict(zip(columns, line.split(","), strict=True)) for line in lines[1:]]
    expected = {(int(r["track"]), int(r["frame"])): r for r in rows if r["video"] == "FaceSwap/022_023"}
    scores = {(p["track"], f["frame"]): f["fake_probability"] for p in facts_in(evidence[1])["people"] for f in p["frames"]}
    assert scores.keys() == expected.keys()
    assert all(abs(scores[key] - float(row["fake_probability"])) < 1e-4 for key, row in expected.items())


def test_a_second_examiner_finds_the_same(finished: Project, evidence: tuple[Path, Path]) -> None:
    video, page = evidence
    output = finished.stage("serving/verify.py", video, page.with_suffix(".json"))
    assert output.startswith("the same: ")
    assert "different settings" not in output


def forge_the_verdict(facts: FileRecord) -> None:
    facts["verdict"] = "real"


def forge_a_score(facts: FileRecord) -> None:
    facts["people"][0]["frames"][1]["fake_probability"] -= 2e-4


def forge_people(facts: FileRecord) -> None:
    facts["people"].pop()


def forge_nothing_that_counts(facts: FileRecord) -> None:
    facts["people"][0]["frames"][1]["fake_probability"] -= 5e-5


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (forge_the_verdict, "verdict of the file: real in the report, fake here"),
        (forge_a_score, "fake_probability of person 0 in frame"),
        (forge_people, "people: [] in the report, [0] here"),
        (forge_nothing_that_counts, None),
    ],
)
def test_what_differs_is_named(evidence: tuple[Path, Path], forge: Callable[[FileRecord], None], message: str | None) -> None:
    actual = {**facts_in(evidence[1]), "verdict": "fake"}
    forged = copy.deepcopy(actual)
    forge(forged)
    named = list(differences(forged, actual))
    assert named == [] if message is None else message in named[0]


def test_what_differs_ends_with_a_status_of_its_own(finished: Project, evidence: tuple[Path, Path], tmp_path: Path) -> None:
    facts = facts_in(evidence[1])
    forge_people(facts)
    (tmp_path / "forged.json").write_text(json.dumps(facts))
    result = finished.run("serving/verify.py", evidence[0], tmp_path / "forged.json")
    assert result.returncode == 1, result.stderr
    assert result.stdout.startswith("DIFFERENT")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "is not the JSON of a report"),
        ('{"format": 2}', "is not the JSON of a report"),
        ('{"format": 1}', "of another version (format 1"),
        ("no JSON", "is not the JSON of a report"),
        ('{"format": 99}', "of another version (format 99"),
        (None, "there is no file"),
    ],
)
def test_what_is_no_report_is_refused_in_words(tmp_path: Path, content: str | None, message: str) -> None:
    if content:
        (tmp_path / "facts.json").write_text(content)
    with pytest.raises(UserError, match=re.escape(message)):
        read_report(tmp_path / "facts.json")


def test_a_folder_is_looked_through_and_one_broken_file_does_not_end_it(
    finished: Project, evidence: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copy(evidence[0], tmp_path / "good.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / "deeper").mkdir()
    write_video(tmp_path / "deeper" / "nobody.mp4", [numbered(index) for index in range(3)])
    result = finished.run("serving/predict.py", tmp_path, "--json", "--report", tmp_path / "pages", "--demo")
    assert result.returncode == 2
    assert "broken.mp4: it cannot be opened as a video" in result.stderr
    assert "1 of 3 files could not be read" in result.stderr
    verdicts = {record["file"]: record["verdict"] for record in json.loads(result.stdout)}
    assert verdicts == {"good.mp4": facts_in(evidence[1])["verdict"], "nobody.mp4": "no verdict"}
    pages = {page.name.rsplit("_", 1)[0]: page.read_text() for page in (tmp_path / "pages").glob("*.html")}
    assert pages.keys() == {"good", "nobody"}
    assert "no face was found" in pages["nobody"]


def test_a_picture_is_scored_as_a_video_of_one_frame(finished: Project, evidence: tuple[Path, Path], tmp_path: Path) -> None:
    capture = cv2.VideoCapture(str(evidence[0]))
    cv2.imwrite(str(tmp_path / "photo.png"), capture.read()[1])
    capture.release()
    (facts,) = json.loads(finished.stage("serving/predict.py", tmp_path / "photo.png", "--json", "--demo"))
    assert facts["verdict"] in ("real", "fake")
    assert [len(person["frames"]) for person in facts["people"]] == [1]


def test_several_files_need_a_folder_for_their_pages(finished: Project, evidence: tuple[Path, Path], tmp_path: Path) -> None:
    result = finished.run("serving/predict.py", evidence[0], evidence[0], "--report", tmp_path / "page.html")
    assert result.returncode == 2
    assert "name a folder" in result.stderr


DEMO_MODEL = ("--model_path", "data/models/best.safetensors")
NEVER_SAW_A_FACE = "this demo model has never seen a real face"


def test_a_network_that_never_saw_a_real_face_gives_no_verdict(finished: Project, fake: Path, tmp_path: Path) -> None:
    output = finished.stage("serving/predict.py", fake, *DEMO_MODEL)
    assert output.strip() == f"{fake.name}: no verdict: {NEVER_SAW_A_FACE}"
    page = tmp_path / "page.html"
    (facts,) = json.loads(finished.stage("serving/predict.py", fake, "--json", "--report", page, *DEMO_MODEL))
    assert (facts["verdict"], facts["reason"]) == ("no verdict", NEVER_SAW_A_FACE)
    assert (facts["fake_probability"], facts["fake_probability_raw"], facts["people"]) == (None, None, [])
    assert NEVER_SAW_A_FACE in page.read_text()
    assert "fake probability" not in page.read_text().lower()
    assert finished.stage("serving/verify.py", fake, page.with_suffix(".json")).startswith("the same: no verdict")
    crop = read_crops(finished.folder / "data/crops")[0].path
    assert NEVER_SAW_A_FACE in finished.stage("serving/predict.py", "--crops", crop, *DEMO_MODEL)


def test_one_broken_crop_costs_the_others_nothing(finished: Project, tmp_path: Path) -> None:
    crops = [crop.path for crop in read_crops(finished.folder / "data/crops")[:2]]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/broken.png").write_bytes(b"no picture")
    files = (crops[0], tmp_path / "mine/broken.png", crops[1])
    result = finished.run("serving/predict.py", "--crops", *files, "--json", "--demo")
    assert result.returncode == 2
    assert [record["file"] for record in json.loads(result.stdout)] == [crop.name for crop in crops]
    assert "broken.png is not a readable picture" in result.stderr
    assert "delete" not in result.stderr
    assert (tmp_path / "mine/broken.png").exists()


def test_a_report_is_a_page_or_a_folder(finished: Project, fake: Path, tmp_path: Path) -> None:
    result = finished.run("serving/predict.py", fake, "--report", tmp_path / "report.pdf", "--demo")
    assert result.returncode == 2
    assert "name a page that ends in .html, or a folder" in result.stderr
    assert not list(tmp_path.iterdir())


def test_uncertain_is_said_of_each_verdict(finished: Project, evidence: tuple[Path, Path]) -> None:
    facts = copy.deepcopy(facts_in(evidence[1]))
    facts |= {"verdict": "real", "uncertain": True, "reason": "the networks of the ensemble disagree"}
    facts["people"][0] |= {"verdict": "real", "uncertain": True, "reason": "person 0 looks fake from 0:04 to 0:08"}
    console = Console(record=True, width=200)
    print_verdict(facts, console)
    first, *details = console.export_text().splitlines()
    assert "real, but uncertain" in first
    assert "the networks of the ensemble disagree" in first
    assert any("person 0: real, but uncertain" in line and "from 0:04 to 0:08" in line for line in details)
