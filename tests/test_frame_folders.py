"""A folder of pictures is a video: its frames are detected and cropped like those of a file, or taken as crops."""

import shutil
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
from little_videos import face_video, project, reading, run_script

from explain_deepfakes.pipeline.index import read_index
from explain_deepfakes.preprocessing.crops.crops import read_crops
from explain_deepfakes.preprocessing.faces.boxes import read_boxes
from explain_deepfakes.preprocessing.faces.face import iou
from explain_deepfakes.preprocessing.video.frame_folders import hash_folder, list_frames
from explain_deepfakes.preprocessing.video.video import UnreadableVideo, open_video, probe_video, read_frames


def save_picture(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def as_folder(video: Path, folder: Path) -> Path:
    for index, picture in read_frames(video, None, reading()):
        save_picture(folder / f"frame{index}.png", picture)
    return folder


def run(folder: Path, script: str, *flags: str) -> None:
    result = run_script(folder, script, *flags, "--workers", "1")
    assert result.returncode == 0, result.stderr


def index_and_detect(folder: Path, *flags: str) -> None:
    run(folder, "index_videos", "--data_path", "videos", "--output_path", "data/index/videos.csv", *flags)
    run(folder, "detect_faces", "--frames", "4", "--index", "data/index/videos.csv", "--output_path", "data/boxes")


def extract(folder: Path) -> dict[str, list[np.ndarray]]:
    """Return the crops of each video."""
    run(folder, "extract_crops", "--index", "data/index/videos.csv", "--output_path", "data/crops")
    crops: dict[str, list[np.ndarray]] = {}
    for crop in read_crops(folder / "data/crops"):
        crops.setdefault(crop.video, []).append(cv2.imread(str(crop.path))[..., ::-1])
    return crops


def assert_same(crops: dict[str, list[np.ndarray]], others: dict[str, list[np.ndarray]]) -> None:
    assert crops.keys() == others.keys()
    assert all(np.array_equal(*pair) for name in crops for pair in zip(crops[name], others[name], strict=True))


def test_the_same_video_as_file_frames_and_crops_gives_the_same_crops(tmp_path: Path) -> None:
    files, folders, cut = (project(tmp_path / name) for name in ("files", "folders", "cut"))
    for seed, (label, person) in enumerate(product(("real", "fake"), ("anna", "bert"))):
        video = face_video(files / f"videos/{label}/{person}/clip.mp4", seed, frames=12)
        as_folder(video, folders / f"videos/{label}/{person}/clip")
    index_and_detect(files)
    index_and_detect(folders)
    assert {video.kind for video in read_index(folders / "data/index/videos.csv")} == {"frames"}
    for name in ("Original/anna_clip", "fake/bert_clip"):
        of_file, of_folder = (read_boxes(folder / f"data/boxes/{name}.json") for folder in (files, folders))
        assert of_file.analysed_frames == of_folder.analysed_frames
        in_both = of_file.frames.keys() & of_folder.frames.keys()
        assert len(in_both) > 1
        for frame in in_both:  # the boxes differ a little, since colours are rounded differently
            assert iou(of_file.frames[frame][0].face.box, of_folder.frames[frame][0].face.box) > 0.8
    shutil.rmtree(folders / "data/boxes")
    shutil.copytree(files / "data/boxes", folders / "data/boxes")
    crops = extract(files)
    assert_same(extract(folders), crops)
    for name, pictures in crops.items():
        label, person = "real" if name.startswith("Original") else "fake", name.split("/")[1].removesuffix("_clip")
        for number, picture in enumerate(pictures):
            save_picture(cut / f"videos/{label}/{person}/clip/{number}.png", picture)
    index_and_detect(cut, "--pictures", "crops")
    of_cut = extract(cut)
    assert of_cut.keys() == crops.keys()
    for name, pictures in crops.items():  # the others are scaled to the size of the first one
        assert np.array_equal(of_cut[name][0], pictures[0])
    assert read_boxes(cut / "data/boxes/Original/anna_clip.json").detector == {"detector": "none"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (10, 9, 1, 2):
        save_picture(tmp_path / f"frames/{number}.png", np.full((40, 60, 3), 20 * number, np.uint8))
    (tmp_path / "frames/notes.txt").write_text("no frame")
    return tmp_path / "frames"


def test_frames_are_in_the_order_of_their_numbers(folder: Path) -> None:
    assert [path.stem for path in list_frames(folder)] == ["1", "2", "9", "10"]
    facts = probe_video(folder, reading())
    assert (facts.width, facts.height, facts.frames_present) == (60, 40, 4)
    assert [(index, int(picture[0, 0, 0])) for index, picture in read_frames(folder, [0, 3], reading())] == [(0, 20), (3, 200)]
    (picture,) = [picture for _, picture in read_frames(folder, [2], reading(), longest_side=30)]
    assert picture.shape == (20, 30, 3)


def test_a_damaged_frame_is_left_out_and_another_size_is_scaled(folder: Path) -> None:
    (folder / "2.png").write_bytes(b"no picture")
    save_picture(folder / "9.png", np.full((80, 120, 3), 7, np.uint8))
    with open_video(folder, reading()) as video:
        frames = dict(video.frames())
        assert sorted(frames) == [0, 2, 3]
        assert (video.stats.frames_damaged, video.stats.frames_missing) == (1, 1)
    assert frames[2].shape == (40, 60, 3)


def test_the_hash_depends_on_names_and_contents(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert hash_folder(copy) == hash_folder(folder)
    (copy / "1.png").rename(copy / "3.png")
    assert hash_folder(copy) != hash_folder(folder)
    shutil.copy(folder / "2.png", folder / "1.png")
    assert len({hash_folder(copy), hash_folder(folder)}) == 2


def test_a_folder_without_readable_pictures_is_named(folder: Path, tmp_path: Path) -> None:
    for path in list_frames(folder):
        path.write_bytes(b"no picture")
    with pytest.raises(UnreadableVideo, match="it is a folder, and none of its 4 pictures can be read"):
        probe_video(folder, reading())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableVideo, match="it is a folder without pictures"):
        probe_video(tmp_path / "empty", reading())
