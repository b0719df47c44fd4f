"""The real stages over a corpus of broken and strange videos: each has its right outcome, and none costs its neighbours."""

import csv
import json
import re
import stat

import pytest
from little_videos import files_of, project, reading, run_script
from strange_videos import BOXES, EITHER, FAILURE, write_corpus

from preprocessing.crops.crops import read_crops
from preprocessing.video.video import UnreadableVideo, open_video


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The corpus, and what detection and extraction said of it."""
    here = project(tmp_path_factory.mktemp("strange"))
    data = here / "videos"
    corpus = write_corpus(data)
    flags = ("--data_path", str(data), "--dataset", "FOLDER", "--max_failed_fraction", "0.9")
    found = run_script(here, "detect_faces", *flags, "--frames", "3")
    assert found.returncode == 0, found.stderr
    cut = run_script(here, "extract_crops", *flags, "--output_path", str(data / "crops"))
    assert cut.returncode == 0, cut.stderr
    return data, corpus


def is_file(data, one):
    try:
        return stat.S_ISREG((data / "real" / one.name).stat().st_mode)
    except OSError:
        return False


def failures_in(path):
    with path.open(newline="") as file:
        return {row["file"].rpartition("/")[2]: row for row in csv.DictReader(file)}


def test_the_corpus_is_large_and_always_the_same(done, tmp_path):
    data, corpus = done
    assert len(corpus) >= 200
    assert write_corpus(tmp_path / "again") == corpus
    again = files_of(tmp_path / "again/real")
    assert {f"real/{name}": content for name, content in again.items()}.items() <= files_of(data).items()


def test_each_video_has_its_right_outcome(done):
    data, corpus = done
    failed = failures_in(data / "boxes/failures.csv")
    wrong = {}
    for one in corpus:
        if not is_file(data, one):
            continue  # what is no file is in no index
        boxes = data / "boxes/Original" / f"{one.name.rpartition('.')[0]}.json"
        outcome = FAILURE if one.name in failed else BOXES if boxes.is_file() else "lost"
        if outcome not in (one.outcome, *((BOXES, FAILURE) if one.outcome == EITHER else ())):
            wrong[one.name] = (one.what, outcome, failed.get(one.name))
        elif outcome == FAILURE and not (re.search(one.reason, failed[one.name]["reason"]) and failed[one.name]["remedy"]):
            wrong[one.name] = (one.what, one.reason, failed[one.name])
        elif outcome == BOXES and one.frames:
            found = json.loads(boxes.read_text())
            if found["frames_present"] != one.frames or not found["frames"]:
                wrong[one.name] = (one.what, one.frames, found["frames_present"], list(found["frames"]))
    assert wrong == {}


def test_each_video_with_boxes_has_crops(done):
    data, corpus = done
    cut = {crop.video for crop in read_crops(data / "crops")}
    detected = failures_in(data / "boxes/failures.csv")
    expected = {f"Original/{one.name.rpartition('.')[0]}" for one in corpus if is_file(data, one) and one.name not in detected}
    assert cut == expected
    assert set(failures_in(data / "crops/failures.csv")) == set(detected)


def test_healthy_videos_keep_every_frame_and_what_is_no_file_is_told(done):
    data, corpus = done
    wrong = {}
    for one in corpus:
        try:
            with open_video(data / "real" / one.name, reading(max_seconds_stuck=20)) as video:
                count = sum(1 for _ in video.frames())
                size = f"{video.facts.width}x{video.facts.height}"
        except UnreadableVideo as error:
            if one.outcome == BOXES or not (one.outcome == EITHER or re.search(one.reason, error.reason)):
                wrong[one.name] = (one.what, str(error))
        else:
            if one.frames not in (None, count) or one.size not in ("", size) or not is_file(data, one):
                wrong[one.name] = (one.what, count, size)
    assert wrong == {}
