"""Crops in folders, archives and each picture format: readers get the same pictures, and no files are left behind."""

import json
import multiprocessing
import os
import shutil
import zipfile
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import Project
from little_videos import draw_face, fake, files_of, original, plain, project, run_script, write_video
from PIL import Image
from torch.utils.data import DataLoader

from explain_deepfakes.model_test_train.networks.input_contract import InputContract
from explain_deepfakes.model_test_train.training.augmentations.augmentation import build_augmentation
from explain_deepfakes.model_test_train.training.data import (
    PictureDataset,
    SampleGroups,
    TrainingDataset,
    pair_with_originals,
    samples_by_video,
    training_batches,
)
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import Video, read_index, write_index
from explain_deepfakes.preprocessing.crops.crops import Crop, Window, find_ledgers, read_crops
from explain_deepfakes.preprocessing.crops.params import ARCHIVES, FOLDERS, STORES
from explain_deepfakes.preprocessing.crops.stores import (
    UnreadableCrop,
    as_stored,
    encode_picture,
    output_name,
    picture_writer,
    read_crop,
    read_mask,
)

EVERY_FRAME = json.dumps({str(index): [[25, 10, 55, 50]] for index in range(6)})  # as published: at half size
FLAGS = ("--data_path", "data/videos", "--boxes_path", "boxes", "--workers", "1")
CROPS = ("--output_path", "data/crops")


def noise(seed: int, *size: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, size, np.uint8)


def lay_out(folder: Path) -> Path:
    """Write two people, a fake of them with its mask, and the boxes of every frame."""
    here = project(folder)
    data = here / "data/videos"
    for shift, path in enumerate((original(data, "000"), original(data, "003"), fake(data, "Deepfakes", "000_003"))):
        write_video(path, (draw_face(plain(110), 70 + 5 * shift + index, 60) for index in range(6)))
    mask = data / "manipulated_sequences/Deepfakes/masks/videos/000_003.mp4"
    left = np.concatenate([plain(255)[:, :80], plain(0)[:, 80:]], 1)
    write_video(mask, [left] * 6)
    (data / "splits").mkdir()
    (data / "splits/test.json").write_text('[["000", "003"]]')
    for name in ("Original/000", "Original/003", "Deepfakes/000_003"):
        boxes = here / f"boxes/{name}.json"
        boxes.parent.mkdir(parents=True, exist_ok=True)
        boxes.write_text(EVERY_FRAME)
    return here


def extract(folder: Path, *flags: str) -> list[Crop]:
    result = run_script(folder, "extract_crops", *FLAGS, *CROPS, *flags)
    assert result.returncode == 0, result.stderr
    return read_crops(folder / "data/crops")


def stored_files(folder: Path) -> dict[str, bytes]:
    return {
        subfolder + name: content
        for subfolder in ("crops/", "masks/")
        for name, content in files_of(folder / "data" / subfolder).items()
    }


@pytest.fixture(scope="module")
def in_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = lay_out(tmp_path_factory.mktemp("folders"))
    extract(here)
    return here


@pytest.fixture(scope="module")
def in_archives(in_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = shutil.copytree(in_folders, tmp_path_factory.mktemp("archives") / "project")
    extract(here, "--store", "archives")
    return here


def test_archives_hold_the_same_pictures_as_folders_and_one_file_a_video(in_folders: Path, in_archives: Path) -> None:
    from_folders, from_archives = (read_crops(folder / "data/crops") for folder in (in_folders, in_archives))
    assert len(from_folders) == len(from_archives) == 18
    for crop, archived in zip(from_folders, from_archives, strict=True):
        assert archived.path == in_archives / "data/crops/test_set" / f"{crop.video}.zip" / f"{crop.frame}_{crop.track}.png"
        assert np.array_equal(read_crop(crop.path), read_crop(archived.path))
        assert (crop.mask is None, archived.mask is None) == ((crop.video != "Deepfakes/000_003",) * 2)
        if crop.mask and archived.mask:
            assert archived.mask.parent == in_archives / "data/masks/Deepfakes/000_003.zip"
            assert np.array_equal(read_mask(crop.mask), read_mask(archived.mask))
            assert 0 < read_mask(archived.mask).mean() < 1
    files = {name for name in stored_files(in_archives) if name.endswith((".png", ".zip"))}
    assert files == {
        "crops/test_set/Original/000.zip",
        "crops/test_set/Original/003.zip",
        "crops/test_set/Deepfakes/000_003.zip",
        "masks/Deepfakes/000_003.zip",
    }


def test_an_archive_is_a_plain_zip_with_no_trace_of_the_day_or_the_machine(in_folders: Path, in_archives: Path) -> None:
    folder = in_folders / "data/crops/test_set/Original/000"
    with zipfile.ZipFile(in_archives / "data/crops/test_set/Original/000.zip") as archive:
        members = archive.infolist()
        assert [member.filename for member in members] == [f"{index}_0.png" for index in range(6)]
        for member in members:
            assert archive.read(member) == (folder / member.filename).read_bytes()
            assert member.compress_type == zipfile.ZIP_STORED
            assert member.date_time == (1980, 1, 1, 0, 0, 0)
            assert (member.create_system, member.external_attr >> 16, member.extra) == (3, 0o644, b"")


def test_to_archives_and_back_leaves_what_folders_alone_would_have(in_folders: Path, in_archives: Path, tmp_path: Path) -> None:
    here = shutil.copytree(in_archives, tmp_path / "project")
    extract(here)
    assert stored_files(here) == stored_files(in_folders)
    extract(here, "--store", "archives")
    assert stored_files(here) == stored_files(in_archives)


@pytest.mark.parametrize(("format", "suffix", "store"), [("jpeg", ".jpg", ARCHIVES), ("webp", ".webp", FOLDERS)])
def test_another_format_takes_the_place_of_the_one_before_and_is_what_a_network_in_service_sees(
    in_folders: Path, tmp_path: Path, format: str, suffix: str, store: str
) -> None:
    here = shutil.copytree(in_folders, tmp_path / "project")
    crops = extract(here, "--format", format, "--quality", "80", "--store", store)
    assert {crop.path.suffix for crop in crops} == {suffix}
    assert {crop.mask.suffix for crop in crops if crop.mask} == {".png"}
    for before, crop in zip(read_crops(in_folders / "data/crops"), crops, strict=True):
        cut = read_crop(before.path)
        assert np.array_equal(read_crop(crop.path), as_stored(cut, format, 80))
        assert not np.array_equal(read_crop(crop.path), cut)
        assert cv2.PSNR(read_crop(crop.path), cut) > 30
    assert not list((here / "data/crops").rglob("*.png"))


def test_archives_of_one_split_lie_and_are_read_where_its_folders_would(in_folders: Path, tmp_path: Path) -> None:
    here = shutil.copytree(in_folders, tmp_path / "project")
    data = here / "data/videos"
    for split in ("test_set", "training_set"):
        result = run_script(here, "extract_crops", *FLAGS, "--store", "archives", "--output_path", str(data / split))
        assert result.returncode == 0, result.stderr
    crops = read_crops(data)
    assert len(crops) == 18
    assert {crop.path.parent for crop in crops if crop.mask} == {data / "test_set/Deepfakes/000_003.zip"}
    assert {crop.mask.parent for crop in crops if crop.mask} == {data / "masks/Deepfakes/000_003.zip"}
    assert all(read_mask(crop.mask).shape == read_crop(crop.path).shape[:2] for crop in crops if crop.mask)


def test_a_better_quality_makes_lossy_crops_anew_and_leaves_lossless_ones(in_folders: Path, tmp_path: Path) -> None:
    here = shutil.copytree(in_folders, tmp_path / "project")
    before = {crop.path: crop.path.stat().st_mtime_ns for crop in read_crops(here / "data/crops")}
    assert {crop.path: crop.path.stat().st_mtime_ns for crop in extract(here, "--quality", "60")} == before
    size = {
        quality: sum(crop.path.stat().st_size for crop in extract(here, "--format", "jpeg", "--quality", quality))
        for quality in ("60", "95")
    }
    assert size["60"] < size["95"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--store", "zip"), "extract_crops.store is 'zip'; choose from: folders, archives"),
        (("--format", "gif"), "extract_crops.format is 'gif'; choose from: png, jpeg, webp"),
        (("--quality", "101"), "extract_crops.quality is 101; the maximum is 100"),
        (("--frames", "0"), "extract_crops.frames is 0; the minimum is 1"),
    ],
)
def test_a_wrong_setting_ends_in_one_line(in_folders: Path, flags: tuple[str, ...], message: str) -> None:
    result = run_script(in_folders, "extract_crops", *FLAGS, *CROPS, *flags)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_shards_that_nobody_merged_are_not_read_as_if_they_were_all(in_archives: Path, tmp_path: Path) -> None:
    crops = shutil.copytree(in_archives / "data/crops", tmp_path / "crops")
    (crops / "ledger.jsonl").rename(crops / "ledger.1-of-2.jsonl")
    with pytest.raises(UserError, match="without --shard"):
        find_ledgers(crops)


@pytest.mark.parametrize("shape", [(9, 7, 3), (1, 1, 3), (120, 80)])
def test_png_files_are_lossless_to_every_reader(shape):
    picture = noise(0, *shape)
    content = encode_picture(picture[:, ::-1], "png", 95)  # a view with negative strides, like a crop
    with Image.open(BytesIO(content)) as read:
        assert np.array_equal(np.asarray(read), picture[:, ::-1])
    by_opencv = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(by_opencv[..., ::-1] if picture.ndim == 3 else by_opencv, picture[:, ::-1])


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("store", STORES)
def test_colours_come_back_in_their_order(tmp_path: Path, store: str, format: str) -> None:
    red = np.zeros((40, 30, 3), np.uint8)
    red[..., 0] = 200
    path = tmp_path / output_name("video", store)
    with picture_writer(path, store) as write:
        write("0_0", encode_picture(red, format, 95))
    read = read_crop(path / "0_0").astype(int)
    assert read.shape == (40, 30, 3)
    assert abs(read - red).max() < 12


@pytest.mark.parametrize("store", STORES)
def test_what_fails_half_way_leaves_nothing_and_the_one_before_in_its_place(tmp_path: Path, store: str) -> None:
    path = tmp_path / output_name("video", store)
    with picture_writer(path, store) as write:
        write("0_0.png", encode_picture(noise(0, 9, 9, 3), "png", 95))
    before = files_of(tmp_path)
    with pytest.raises(OSError, match="disk"), picture_writer(path, store) as write:
        write("0_0.png", encode_picture(noise(1, 9, 9, 3), "png", 95))
        raise OSError("disk full")
    assert files_of(tmp_path) == before


def test_an_archive_that_is_made_anew_is_read_anew(tmp_path: Path) -> None:
    archive = tmp_path / "video.zip"
    for seed, names in ((0, ["0_0.png", "1_0.png"]), (1, ["1_0.png"])):
        pictures = {name: noise(seed + len(name), 20 + seed, 20, 3) for name in names}
        with picture_writer(archive, ARCHIVES) as write:
            for name, picture in pictures.items():
                write(name, encode_picture(picture, "png", 95))
        for name, picture in pictures.items():
            assert np.array_equal(read_crop(archive / name), picture)
    with pytest.raises(UnreadableCrop, match=r"0_0\.png does not exist"):
        read_crop(archive / "0_0.png")


def test_a_folder_may_be_called_as_an_archive_is(tmp_path: Path) -> None:
    with picture_writer(tmp_path / "clip.zip", FOLDERS) as write:
        write("0_0.png", encode_picture(noise(3, 8, 8, 3), "png", 95))
    assert np.array_equal(read_crop(tmp_path / "clip.zip/0_0.png"), noise(3, 8, 8, 3))


def broken(archive: Path, damage: str) -> None:
    content = archive.read_bytes()
    if damage == "cut":
        archive.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        archive.write_bytes(b"")
    elif damage == "of text":
        archive.write_text("no zip at all")
    elif damage == "overwritten":
        archive.write_bytes(b"\0" * (len(content) // 2) + content[len(content) // 2 :])
    elif damage == "compressed":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as rewritten:
            rewritten.writestr("0_0.png", encode_picture(noise(0, 30, 30, 3), "png", 95))


@pytest.mark.parametrize("damage", ["cut", "empty", "of text", "overwritten", "compressed"])
def test_a_broken_archive_is_named_in_one_line(tmp_path: Path, damage: str) -> None:
    archive = tmp_path / "video.zip"
    with picture_writer(archive, ARCHIVES) as write:
        write("0_0.png", encode_picture(noise(0, 30, 30, 3), "png", 95))
    broken(archive, damage)
    message = r"0\.png is not a readable picture; delete .*/video\.zip, and run extract_crops again$"
    with pytest.raises(UnreadableCrop, match=message):
        read_crop(archive / "0_0.png")


@pytest.mark.parametrize("content", [b"", b"text", encode_picture(noise(0, 30, 30, 3), "png", 95)[:60]])
def test_a_broken_picture_and_one_that_is_not_there_are_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "0_0.png").write_bytes(content)
    for read in (read_crop, read_mask):
        with pytest.raises(UnreadableCrop, match=r"/0_0\.png is not a readable picture"):
            read(tmp_path / "0_0.png")
        for nowhere in ("1_0.png", "gone/0_0.png", "gone.zip/0_0.png"):
            with pytest.raises(UnreadableCrop, match=f"{nowhere} does not exist; delete .*, and run extract_crops again"):
                read(tmp_path / nowhere)


CONTRACT = InputContract(32, "rgb", 1 / 255, (0.5,) * 3, (0.25,) * 3, "stretch")
AUGMENTED = {"flip": {"p": 0.5}, "part": {"p": 1.0, "most": 0.1}, "noise": {"p": 1.0, "most": 5.0}}
REAL = Video("Original/a", "Original", 0, "training_set", ("a",), "v.mp4", "", "hash", "DEMO")
FAKE = Video("FaceSwap/a_b", "FaceSwap", 1, "training_set", ("a", "b"), "w.mp4", "", "hash", "DEMO", ("Original/a",))


def stored(folder: Path, store: str) -> TrainingDataset:
    """A fake and its original, 12 crops each."""
    crops = []
    for video in (REAL, FAKE):
        pictures, masks = folder / output_name(video.video, store), folder / output_name(f"masks/{video.video}", store)
        with picture_writer(pictures, store) as write, picture_writer(masks, store) as write_mask:
            for frame in range(12):
                name = f"{frame}_0.png"
                write(name, encode_picture(noise(frame, 40, 40, 3), "png", 95))
                write_mask(name, encode_picture(255 * (noise(frame, 40, 40) > 127).astype(np.uint8), "png", 95))
                crops.append(Crop(video.video, frame, 0, name, Window(0, 0, 40, 40), pictures, masks))
    chosen = samples_by_video([REAL, FAKE], crops, 12, everybody=False)
    return TrainingDataset(SampleGroups(pair_with_originals(chosen)), CONTRACT, (2, 2), build_augmentation(AUGMENTED), seed=3)


def test_training_sees_the_same_from_archives_as_from_folders_however_many_read(tmp_path: Path) -> None:
    expected = list(training_batches(stored(tmp_path / "folders", FOLDERS), 8, 0, 3, 0))
    archived = stored(tmp_path / "archives", ARCHIVES)
    for workers in (0, 2):
        batches = list(training_batches(archived, 8, workers, 3, 0))
        assert len(batches) == len(expected) == 3
        for expected_batch, batch in zip(expected, batches, strict=True):
            assert all(
                torch.equal(expected_tensor, tensor) for expected_tensor, tensor in zip(expected_batch, batch, strict=True)
            )


@pytest.mark.parametrize("start", multiprocessing.get_all_start_methods())
def test_archives_are_read_by_processes_of_any_kind_even_after_their_parent_read_them(tmp_path: Path, start: str) -> None:
    groups = stored(tmp_path, ARCHIVES)
    samples = [sample for group in groups.groups for sample in group]
    pictures = PictureDataset(samples, CONTRACT)
    expected = torch.stack([pictures[number] for number in range(len(samples))])
    loader = DataLoader(pictures, 4, num_workers=2, multiprocessing_context=start)
    assert torch.equal(torch.cat(list(loader)), expected)


def test_verdicts_and_explanations_of_archives_are_those_of_folders(finished: Project, tmp_path: Path) -> None:
    """The files are identical but for the crops' paths."""
    index = [video for video in read_index(finished.folder / "data/index/videos.csv") if video.split == "test_set"]
    few = [video for video in index if video.method in ("Original", "Deepfakes")][::7]
    write_index(tmp_path / "few.csv", few)
    archives, outputs = tmp_path / "crops", {}
    finished.stage(
        "preprocessing/extract_crops.py", "--index", tmp_path / "few.csv", "--output_path", archives, "--store", "archives"
    )
    for name, crops in (("folders", finished.folder / "data/crops"), ("archives", archives)):
        flags = ("--index", tmp_path / "few.csv", "--crops", crops)
        tests, explanation = tmp_path / name / "tests", tmp_path / name / "explanation"
        finished.stage("model_test_train/test_model.py", *flags, "--output_path", tests)
        finished.stage("explain_model/explain_model.py", *flags, "--tests", tests, "--output_path", explanation)
        outputs[name] = files_of(tmp_path / name)
    there, here = os.fsencode(f"{archives}/"), b"data/crops/"
    same = {name: content.replace(there, here).replace(b".zip", b"") for name, content in outputs["archives"].items()}
    assert any(b".zip/" in content for name, content in outputs["archives"].items() if name.endswith("frames.csv"))
    assert same == outputs["folders"]
