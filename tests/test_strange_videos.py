"""The real stages on a corpus of broken and unusual videos: each has the expected outcome, and none affects others."""

import csv
import json
import re
import stat

import pytest
from little_videos import files_of, project, reading, run_script
from strange_videos import BOXES, EITHER, FAILURE, write_corpus

from explain_deepfakes.preprocessing.crops.crops import read_crops
from explain_deepfakes.preprocessing.video.video import UnreadableVideo, open_video


@pytest.fixture(scope="module")
def processed_corpus(tmp_path_factory):
    """The corpus, after detection and extraction."""
    here = project(tmp_path_factory.mktemp("strange"))
    data = here / "videos"
    corpus = write_corpus(data)
    flags = ("--data_path", str(data), "--dataset", "FOLDER", "--max_failed_fraction", "0.9")
    result = run_script(here, "detect_faces", *flags, "--frames", "3")
    assert result.returncode == 0, result.stderr
    cut = run_script(here, "extract_crops", *flags, "--output_path", str(data / "crops"))
    assert cut.returncode == 0, cut.stderr
    return data, corpus


def is_file(data, entry):
    try:
        return stat.S_ISREG((data / "real" / entry.name).stat().st_mode)
    except OSError:
        return False


def failures_in(path):
    with path.open(newline="") as file:
        return {row["file"].rpartition("/")[2]: row for row in csv.DictReader(file)}


def test_the_corpus_is_large_and_always_the_same(processed_corpus, tmp_path):
    data, corpus = processed_corpus
    assert len(corpus) >= 200
    assert write_corpus(tmp_path / "again") == corpus
    again = files_of(tmp_path / "again/real")
    assert {f"real/{name}": content for name, content in again.items()}.items() <= files_of(data).items()


def test_each_video_has_its_right_outcome(processed_corpus):
    data, corpus = processed_corpus
    failed = failures_in(data / "boxes/failures.csv")
    wrong = {}
    for entry in corpus:
        if not is_file(data, entry):
            continue  # what is not a file is not in the index
        boxes = data / "boxes/Original" / f"{entry.name.rpartition('.')[0]}.json"
        outcome = FAILURE if entry.name in failed else BOXES if boxes.is_file() else "lost"
        if outcome not in (entry.outcome, *((BOXES, FAILURE) if entry.outcome == EITHER else ())):
            wrong[entry.name] = (entry.what, outcome, failed.get(entry.name))
        elif outcome == FAILURE and not (
            re.search(entry.reason, failed[entry.name]["reason"]) and failed[entry.name]["remedy"]
        ):
            wrong[entry.name] = (entry.what, entry.reason, failed[entry.name])
        elif outcome == BOXES and entry.frames:
            record = json.loads(boxes.read_text())
            if record["frames_present"] != entry.frames or not record["frames"]:
                wrong[entry.name] = (entry.what, entry.frames, record["frames_present"], list(record["frames"]))
    assert wrong == {}


def test_each_video_with_boxes_has_crops(processed_corpus):
    data, corpus = processed_corpus
    cut = {crop.video for crop in read_crops(data / "crops")}
    detected = failures_in(data / "boxes/failures.csv")
    expected = {
        f"Original/{entry.name.rpartition('.')[0]}" for entry in corpus if is_file(data, entry) and entry.name not in detected
    }
    assert cut == expected
    assert set(failures_in(data / "crops/failures.csv")) == set(detected)


def test_healthy_videos_keep_every_frame_and_what_is_no_file_is_reported(processed_corpus):
    data, corpus = processed_corpus
    wrong = {}
    for entry in corpus:
        try:
            with open_video(data / "real" / entry.name, reading(max_seconds_stuck=20)) as video:
                count = sum(1 for _ in video.frames())
                size = f"{video.facts.width}x{video.facts.height}"
        except UnreadableVideo as error:
            if entry.outcome == BOXES or not (entry.outcome == EITHER or re.search(entry.reason, error.reason)):
                wrong[entry.name] = (entry.what, str(error))
        else:
            if entry.frames not in (None, count) or entry.size not in ("", size) or not is_file(data, entry):
                wrong[entry.name] = (entry.what, count, size)
    assert wrong == {}
