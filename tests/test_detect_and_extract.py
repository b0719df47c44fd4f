"""The real commands on tiny videos: changes to a corpus, changes to settings, and interrupted commands."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from little_videos import face_video, fake, files_of, original, plain, project, reading, run_script, write_video

from explain_deepfakes.model_test_train.training.stage import preprocessing_of
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import read_index
from explain_deepfakes.preprocessing.crops.crops import crop_image, read_crops
from explain_deepfakes.preprocessing.faces.boxes import read_boxes
from explain_deepfakes.preprocessing.video.video import read_frames

QUICK = ("--frames", "4", "--workers", "1")
TOLERANT = ("--max_failed_fraction", "0.7")


def lay_out(data):
    """Write two people, and two fakes of one of them with the same stem."""
    for seed, path in enumerate(
        (
            original(data, "000"),
            original(data, "003"),
            fake(data, "Deepfakes", "000_003"),
            fake(data, "FaceSwap", "000_003"),
        )
    ):
        face_video(path, seed)
    (data / "splits").mkdir()
    (data / "splits/test.json").write_text('[["000", "003"]]')


def preprocess(folder, *flags, extract=()):
    """Run all three commands and return the last one's result."""
    steps = (("index_videos",), ("detect_faces", *QUICK, *flags), ("extract_crops", "--workers", "1", *extract))
    for script, *script_flags in steps:
        result = run_script(folder, script, *script_flags)
        assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A project with videos that were not processed yet."""
    folder = project(tmp_path_factory.mktemp("filmed"))
    lay_out(folder / "data/videos")
    return folder


@pytest.fixture(scope="module")
def finished(filmed, tmp_path_factory):
    """A project whose videos have been preprocessed."""
    folder = shutil.copytree(filmed, tmp_path_factory.mktemp("finished") / "project")
    preprocess(folder)
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished project, which tests may change."""
    return shutil.copytree(finished, tmp_path / "project")


def results(folder):
    return {**files_of(folder / "data/boxes"), **files_of(folder / "data/crops")}


def written_when(folder):
    files = (path for subfolder in ("data/boxes", "data/crops") for path in (folder / subfolder).rglob("*"))
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in files if path.is_file()}


def failures(folder, stage):
    with (folder / "data" / stage / "failures.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def as_filed(name):
    return original(Path("data/videos"), name).as_posix()


def test_every_face_lies_where_the_published_layout_has_it(finished):
    crops = read_crops(finished / "data/crops")
    paths = {crop.path.relative_to(finished / "data/crops").as_posix() for crop in crops}
    assert "test_set/FaceSwap/000_003/2_0.png" in paths
    assert {crop.video for crop in crops} == {
        "Original/000",
        "Original/003",
        "Deepfakes/000_003",
        "FaceSwap/000_003",
    }
    assert all(crop.path.is_file() for crop in crops)
    assert paths == {name for name in files_of(finished / "data/crops") if name.endswith(".png")}


def test_two_fakes_of_one_stem_are_two_videos(finished):
    first, second = (finished / f"data/crops/test_set/{method}/000_003/2_0.png" for method in ("Deepfakes", "FaceSwap"))
    assert first.read_bytes() != second.read_bytes()


def test_a_crop_is_its_window_of_its_frame(finished):
    for crop in read_crops(finished / "data/crops"):
        if crop.video == "Original/003":
            _, frame = next(read_frames(original(finished / "data/videos", "003"), [crop.frame], reading()))
            saved = cv2.cvtColor(cv2.imread(str(crop.path)), cv2.COLOR_BGR2RGB)
            assert np.array_equal(saved, crop_image(frame, crop.window))


def test_boxes_say_what_was_looked_at(finished):
    boxes = read_boxes(finished / "data/boxes/Original/003.json")
    assert boxes.analysed_frames == [0, 2, 3, 5]
    assert (boxes.facts.width, boxes.facts.height, boxes.facts.frames_present) == (160, 120, 6)
    for faces in boxes.frames.values():
        x0, y0, x1, y1 = faces[0].face.box
        assert 30 < x1 - x0 < 80
        assert 60 < (x0 + x1) / 2 < 110
        assert 40 < (y0 + y1) / 2 < 75


def test_a_second_run_does_nothing(copy):
    before = written_when(copy)
    preprocess(copy)
    after = written_when(copy)
    assert {name for name in after if after[name] != before[name]} == {
        "data/boxes/failures.csv",
        "data/crops/failures.csv",
    }


def test_one_video_more_costs_one_video_and_one_less_leaves_nothing_behind(copy):
    before, bytes_before = written_when(copy), results(copy)
    extra = face_video(fake(copy / "data/videos", "NeuralTextures", "000_003"), 9)
    preprocess(copy)
    after = written_when(copy)
    rewritten = {name for name in before if after[name] != before[name]}
    assert {name.rpartition("/")[2] for name in rewritten} == {"failures.csv", "ledger.jsonl"}
    assert {name.split("/")[-2] for name in set(after) - set(before)} == {"NeuralTextures", "000_003"}
    extra.unlink()
    preprocess(copy)
    assert results(copy) == bytes_before
    assert not list(copy.rglob("*/NeuralTextures/000_003"))


def test_a_changed_setting_makes_stale_what_depends_on_it(copy):
    before = written_when(copy)
    preprocess(copy, extract=("--margin", "0.3"))
    after = written_when(copy)
    assert all(after[name] != before[name] for name in before if name.endswith(".png"))
    assert all(after[name] == before[name] for name in before if name.startswith("data/boxes/O"))
    preprocess(copy, "--thresholds", "[0.8,0.9,0.9]", extract=("--margin", "0.3"))
    assert all(written_when(copy)[name] != after[name] for name in after if name.startswith("data/boxes/O"))


def test_changed_bytes_of_a_video_are_seen(copy):
    before = results(copy)
    face_video(original(copy / "data/videos", "003"), 20)
    preprocess(copy)
    changed = {name for name, content in results(copy).items() if before.get(name) != content}
    assert {name.split("/")[-1] for name in changed if "003" not in name} == {"ledger.jsonl"}
    assert "Original/003.json" in changed


def test_two_workers_leave_the_same_bytes_as_one(finished, copy):
    for stage in ("boxes", "crops"):
        shutil.rmtree(copy / "data" / stage)
    preprocess(copy, "--workers", "2", extract=("--workers", "2"))
    assert results(copy) == results(finished)


def test_a_killed_run_is_resumed_and_ends_with_the_same_bytes(finished, copy):
    for stage in ("boxes", "crops"):
        ledger = copy / "data" / stage / "ledger.jsonl"
        lines = ledger.read_text().splitlines()
        ledger.write_text("\n".join([lines[3], lines[0], lines[1][:40]]))
        (copy / "data" / stage / "failures.csv").unlink()
    (copy / "data/boxes/Original/.000.123.part.json").write_text('{"vid')
    unfinished = copy / "data/crops/test_set/Original/.003.123.part"
    unfinished.mkdir()
    (unfinished / "0_0.png").touch()
    shutil.rmtree(copy / "data/crops/test_set/Original/003")
    preprocess(copy)
    assert results(copy) == results(finished)


def test_bad_videos_are_rows_and_their_neighbours_go_on(copy):
    videos, before = copy / "data/videos", results(copy)
    original(videos, "100").write_text("no video at all")
    write_video(original(videos, "101"), [plain(90)] * 6)
    preprocess(copy, *TOLERANT, extract=TOLERANT)
    not_detected, not_cut = failures(copy, "boxes"), failures(copy, "crops")
    assert set(not_detected) == set(not_cut) == {as_filed("100"), as_filed("101")}
    assert "cannot be opened" in not_detected[as_filed("100")]["reason"]
    assert "no face" in not_detected[as_filed("101")]["reason"]
    assert "thresholds" in not_detected[as_filed("101")]["remedy"]
    assert json.loads((copy / "data/boxes/Original/101.json").read_text())["frames"] == {}
    unharmed = {name: content for name, content in before.items() if name.endswith((".png", ".json"))}
    assert unharmed.items() <= results(copy).items()


def test_checkpoints_get_the_settings_that_the_crops_were_made_with(copy):
    """Also those that were flags, and not in params.yaml."""
    assert run_script(copy, "extract_crops", "--margin", "0.4").returncode == 0
    settings = preprocessing_of(copy / "data/crops")
    assert settings["extract_crops"]["margin"] == 0.4
    assert settings["detect_faces"]["frames"] == int(QUICK[1])
    for split, margin in (("training_set", "0.4"), ("test_set", "0.2")):
        assert run_script(copy, "extract_crops", "--margin", margin, "--output_path", f"data/parts/{split}").returncode == 0
    with pytest.raises(UserError, match="were cropped with different settings"):
        preprocessing_of(copy / "data/parts")
    (copy / "data/parts/training_set/settings.json").unlink()  # as earlier versions left it
    assert preprocessing_of(copy / "data/parts")["extract_crops"]["margin"] == 0.2


@pytest.mark.parametrize("content", [b"", b'{"extract_crops": {"marg', b"[]", b'{"extract_crops": 1}', b"\xff"])
def test_damaged_settings_of_crops_are_named_and_written_again(copy, content):
    path = copy / "data/crops/settings.json"
    intact = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"data/crops/settings\.json is damaged; delete it, and run the command"):
        preprocessing_of(copy / "data/crops")
    assert run_script(copy, "extract_crops").returncode == 0
    assert path.read_bytes() == intact


def test_too_many_failures_end_the_command_in_one_line(copy):
    for path in (copy / "data/videos").rglob("*.mp4"):
        if path.stem != "003":
            path.write_text(str(path))
    assert run_script(copy, "index_videos").returncode == 0
    result = run_script(copy, "detect_faces", *QUICK)
    assert result.returncode == 2
    assert "max_failed_fraction" in result.stderr.splitlines()[-1]
    assert len(failures(copy, "boxes")) == 3
    assert not (copy / "data/boxes/Original/000.json").exists()


def test_a_bad_boxes_file_is_a_row(copy):
    (copy / "data/boxes/Original/003.json").write_text("{")
    result = run_script(copy, "extract_crops", *TOLERANT)
    assert result.returncode == 0, result.stderr
    assert "003.json" in failures(copy, "crops")[as_filed("003")]["reason"]
    assert not (copy / "data/crops/test_set/Original/003").exists()


def test_the_published_commands_work_on_a_folder_of_videos(finished, tmp_path):
    data = shutil.copytree(finished / "data/videos", tmp_path / "dataset")
    here = project(tmp_path / "project")
    result = run_script(here, "detect_faces", "--data_path", str(data), "--dataset", "FACEFORENSICS", *QUICK)
    assert result.returncode == 0, result.stderr
    assert (data / "boxes/FaceSwap/000_003.json").is_file()
    extract = ("extract_crops", "--data_path", str(data), "--dataset", "FACEFORENSIC", "--output_path")
    for split, count in (("test_set", 4), ("training_set", 0)):
        result = run_script(here, *extract, str(data / split))
        assert result.returncode == 0, result.stderr
        assert len({crop.video for crop in read_crops(data / split)}) == count
    assert list((data / "test_set/FaceSwap/000_003").glob("*_0.png"))
    assert list(files_of(here / "data")) == ["index-cache.jsonl"]


def test_work_on_another_corpus_leaves_the_first_ones_results_alone(copy, tmp_path):
    before = files_of(copy / "data")
    second_corpus = shutil.copytree(copy / "data/videos", tmp_path / "other")
    for command in (("index_videos",), ("preprocess", *QUICK)):
        result = run_script(copy, *command, "--data_path", str(second_corpus))
        assert result.returncode == 0, result.stderr
    assert without_cache(files_of(copy / "data")) == without_cache(before)
    assert len({crop.video for crop in read_crops(second_corpus / "crops")}) == 4
    assert {video.path for video in read_index(second_corpus / "index/videos.csv")} == {
        str(path) for path in second_corpus.rglob("*sequences/**/videos/*.mp4") if "masks" not in path.parts
    }


def test_a_corpus_is_the_same_one_from_whatever_folder_it_is_named(copy, tmp_path):
    second_corpus = shutil.copytree(copy / "data/videos", tmp_path / "other")
    (copy / "deeper").mkdir()
    for here, name in ((copy, second_corpus), (copy / "deeper", "../../other")):
        for command in (("index_videos",), ("preprocess", *QUICK)):
            result = run_script(here, *command, "--data_path", str(name))
            assert result.returncode == 0, result.stderr
    assert "videos, " not in result.stderr  # nothing is stale
    assert {video.path for video in read_index(second_corpus / "index/videos.csv")} == {
        str(path) for path in second_corpus.rglob("*sequences/**/videos/*.mp4") if "masks" not in path.parts
    }


def without_cache(files):
    return {name: content for name, content in files.items() if name != "index-cache.jsonl"}


def test_results_of_another_corpus_are_replaced_only_if_that_is_wanted(copy, tmp_path):
    second_corpus = shutil.copytree(copy / "data/videos", tmp_path / "other")
    for video in sorted(second_corpus.rglob("*.mp4")):
        video.write_bytes(video.read_bytes() + bytes(8))  # other files under the same names, as of another compression
    before = files_of(copy / "data")
    into_the_first = (
        ("index_videos", "--output_path", "data/index/videos.csv"),
        ("detect_faces", "--output_path", "data/boxes", *QUICK),
        ("detect_faces", "--output_path", "data/boxes", *QUICK, "--min_face_size", "50"),
        ("extract_crops", "--boxes_path", "data/boxes", "--output_path", "data/crops"),
        ("extract_crops", "--boxes_path", "data/boxes", "--output_path", "data/crops", "--margin", "0.4"),
        ("preprocess", "--boxes_path", "data/boxes", "--output_path", "data/crops", *QUICK),
        ("preprocess", "--boxes_path", "data/boxes", "--output_path", "data/crops", "--shard", "1/2", *QUICK),
    )
    for command in into_the_first:
        result = run_script(copy, *command, "--data_path", str(second_corpus))
        assert result.returncode == 2, command
        message = result.stderr.splitlines()[-1]
        assert all(phrase in message for phrase in (str(second_corpus), "data/videos", "--output_path", "--replace")), message
        assert without_cache(files_of(copy / "data")) == without_cache(before), command
    result = run_script(copy, *into_the_first[1], "--data_path", str(second_corpus), "--replace")
    assert result.returncode == 0, result.stderr
    assert str(second_corpus) in (copy / "data/boxes/ledger.jsonl").read_text()


def test_a_folder_given_in_place_of_an_output_file_is_left_as_it_is(copy):
    before = files_of(copy / "data")
    for folder in ("data/index", "data/videos"):
        result = run_script(copy, "index_videos", "--output_path", folder)
        assert (result.returncode, "name a file" in result.stderr.splitlines()[-1]) == (2, True), result.stderr
        assert without_cache(files_of(copy / "data")) == without_cache(before)


def test_files_that_other_software_left_in_an_output_folder_are_not_overwritten(copy, finished):
    """Such as crops of the published scripts, which have the same names."""
    for stage in ("boxes", "crops"):
        (copy / "data" / stage / "ledger.jsonl").unlink()
    before = files_of(copy / "data")
    for command in (("detect_faces", *QUICK, "--frames", "3"), ("extract_crops", "--margin", "0.4"), ("preprocess", *QUICK)):
        result = run_script(copy, *command)
        message = result.stderr.splitlines()[-1]
        assert (result.returncode, "was not made by this command" in message, "--replace" in message) == (2, True, True), (
            message
        )
        assert without_cache(files_of(copy / "data")) == without_cache(before)
    for command in (("detect_faces", *QUICK, "--replace"), ("extract_crops", "--replace")):
        result = run_script(copy, *command)
        assert result.returncode == 0, result.stderr
    assert results(copy) == results(finished)


def test_a_corpus_that_was_moved_is_not_another_one(copy):
    (copy / "data/videos").rename(copy / "data/moved")
    params = yaml.safe_load((copy / "params.yaml").read_text())
    params["index_videos"]["data_path"] = "data/moved"
    (copy / "params.yaml").write_text(yaml.safe_dump(params))
    for command in (("index_videos",), ("detect_faces", *QUICK), ("extract_crops",)):
        result = run_script(copy, *command)
        assert result.returncode == 0, result.stderr
        assert "videos, " not in result.stderr  # nothing is recomputed


FROM_PUBLISHED = (
    *("--data_path", "data/videos", "--boxes_path", "old", "--output_path", "data/crops"),
    *("--margin", "0", "--no-square", "--workers", "1"),
)


def with_boxes(filmed, folder, boxes):
    """Create a project with the filmed videos, and boxes files with this content in the folder `old`."""
    here = project(folder / "project")
    shutil.copytree(filmed / "data/videos", here / "data/videos")
    for name, content in boxes.items():
        path = here / "old" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return here


def windows(folder):
    """Return for each video the frame, person and window of its crops."""
    windows_by_video = {}
    for crop in read_crops(folder / "data/crops"):
        windows_by_video.setdefault(crop.video, []).append((crop.frame, crop.track, crop.window[:4]))
    return windows_by_video


def test_crops_come_from_boxes_of_the_published_scripts_wherever_those_laid_them(filmed, tmp_path):
    boxes = '{"0": [[20, 10, 50, 50]], "1": null, "4": [[2, 2, 30, 30], [20, 10, 50, 50]]}'
    deeper = '{"0": [[[20, 10, 50, 50]]], "1": null, "4": [[[2, 2, 30, 30], [20, 10, 50, 50]]]}'
    files = {"Deepfakes/000_003.json": boxes, "FaceSwap/000_003.json": deeper, "youtube/000.json": boxes, "003.json": boxes}
    here = with_boxes(filmed, tmp_path, files)
    result = run_script(here, "extract_crops", *FROM_PUBLISHED)
    assert result.returncode == 0, result.stderr
    expected = [(0, 0, (40, 20, 100, 100)), (4, 0, (40, 20, 100, 100)), (4, 1, (4, 4, 60, 60))]
    videos = ("Deepfakes/000_003", "FaceSwap/000_003", "Original/000", "Original/003")
    assert windows(here) == dict.fromkeys(videos, expected)


def test_boxes_that_may_be_of_two_videos_are_refused(filmed, tmp_path):
    here = with_boxes(filmed, tmp_path, {"000_003.json": "{}", "000.json": "{}"})
    result = run_script(here, "extract_crops", *FROM_PUBLISHED)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "Deepfakes/000_003 or of FaceSwap/000_003" in result.stderr
    assert "folder of its method" in result.stderr
    assert not (here / "data/crops").exists()


def test_boxes_of_every_frame_may_be_thinned_out(filmed, tmp_path):
    every = json.dumps({str(index): [[20, 10, 50, 50]] for index in range(6)})
    names = ("Deepfakes/000_003", "FaceSwap/000_003", "Original/000", "Original/003")
    here = with_boxes(filmed, tmp_path, {f"{name}.json": every for name in names})
    for flags, frames in (((), [0, 1, 2, 3, 4, 5]), (("--frames", "2"), [1, 4]), (("--frames", "null"), [0, 1, 2, 3, 4, 5])):
        result = run_script(here, "extract_crops", *FROM_PUBLISHED, *flags)
        assert result.returncode == 0, result.stderr
        assert {name: [frame for frame, _, _ in crops] for name, crops in windows(here).items()} == dict.fromkeys(names, frames)
        on_disk = (here / "data/crops/test_set/Original/000").iterdir()
        assert {path.name for path in on_disk} == {f"{frame}_0.png" for frame in frames}


def test_boxes_that_are_no_faces_are_rows_and_a_frame_that_is_no_more_is_noted(filmed, tmp_path):
    boxes = {
        "Original/000.json": '{"0": [[20, 10, 50, 50]], "2": [[200, 10, 250, 50]]}',
        "Original/003.json": '{"5": [[20, 10, 50, 50]], "6": [[20, 10, 50, 50]], "300": [[20, 10, 50, 50]]}',
        "Deepfakes/000_003.json": '{"0": [[-30000, -30000, 30000, 30000]]}',
        "FaceSwap/000_003.json": '{"40": [[20, 10, 50, 50]]}',
    }
    here = with_boxes(filmed, tmp_path, boxes)
    result = run_script(here, "extract_crops", *FROM_PUBLISHED, "--max_failed_fraction", "0.8")
    assert result.returncode == 0, result.stderr
    assert windows(here) == {"Original/003": [(5, 0, (40, 20, 100, 100))]}
    ledger = map(json.loads, (here / "data/crops/ledger.jsonl").read_text().splitlines())
    assert {entry["name"]: entry.get("undecoded") for entry in ledger}["Original/003"] == [6, 300]
    failed = {path.split("/")[-1]: row for path, row in failures(here, "crops").items()}
    assert len(failed) == 2  # two fakes share one file name
    assert "frame 2 has a box [400.0, 20.0, 500.0, 100.0] that cannot be a face" in failed["000.mp4"]["reason"]
    assert "delete old/Original/000.json" in failed["000.mp4"]["remedy"]
    reasons = {path: row["reason"] for path, row in failures(here, "crops").items()}
    assert "60000.0] that cannot be a face" in reasons[fake(Path("data/videos"), "Deepfakes", "000_003").as_posix()]
    assert "none of the frames" in reasons[fake(Path("data/videos"), "FaceSwap", "000_003").as_posix()]
    assert not list((here / "data").rglob("Deepfakes/000_003/*.png"))


def run_combined(folder, *flags):
    for script, script_flags in (("index_videos", ()), ("preprocess", (*QUICK, *TOLERANT, *flags))):
        result = run_script(folder, script, *script_flags)
        assert result.returncode == 0, result.stderr


def run_separately(folder):
    preprocess(folder, *TOLERANT, extract=TOLERANT)


@pytest.fixture
def twins(copy, tmp_path):
    """Two preprocessed projects with the same videos, which were then changed; two videos are invalid."""
    videos = copy / "data/videos"
    write_video(original(videos, "101"), [plain(90)] * 6)
    face_video(original(videos, "000"), 30)
    original(videos, "003").write_text("its boxes and crops are there, and stale")
    shutil.rmtree(copy / "data/crops/test_set/FaceSwap/000_003")
    return copy, shutil.copytree(copy, tmp_path / "twin")


def test_both_stages_in_one_go_leave_what_they_leave_one_after_the_other(twins):
    first, second = twins
    run_separately(first)
    run_combined(second)
    assert results(first) == results(second)
    assert set(failures(second, "boxes")) == set(failures(second, "crops")) == {as_filed("003"), as_filed("101")}
    before = written_when(second)
    run_separately(second)
    after = written_when(second)
    assert {name for name in after if after[name] != before[name]} == {"data/boxes/failures.csv", "data/crops/failures.csv"}


def test_shards_of_both_stages_merge_to_the_same_bytes(twins):
    first, second = twins
    run_separately(first)
    for shard in (("--shard", "1/2"), ("--shard", "2/2"), ()):
        run_combined(second, *shard)
    assert results(first) == results(second)


def test_boxes_that_are_right_are_not_made_again_for_crops_that_are_not(copy):
    boxes = copy / "data/boxes/Original/003.json"
    before = boxes.stat().st_mtime_ns
    shutil.rmtree(copy / "data/crops/test_set/Original/003")
    run_combined(copy)
    assert (copy / "data/crops/test_set/Original/003/2_0.png").is_file()
    assert boxes.stat().st_mtime_ns == before


def test_without_boxes_the_command_says_who_makes_them(copy):
    shutil.rmtree(copy / "data/boxes")
    result = run_script(copy, "extract_crops")
    assert result.returncode == 2
    assert "detect_faces" in result.stderr
    assert result.stderr.count("\n") == 1
