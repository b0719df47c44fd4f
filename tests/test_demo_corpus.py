"""The drawn corpus: it is reproducible, its masks are exact, and only the pixels distinguish fake from real."""

import dataclasses
import json
import os
from pathlib import Path

import av
import numpy as np
import pytest
from facenet_pytorch import MTCNN
from PIL import Image

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.preprocessing.demo_corpus.corpus import (
    HARD_CASES,
    DemoSequence,
    make_demo_videos,
    plan_corpus,
    record_frames,
    render_frames,
    sample_actor,
)
from explain_deepfakes.preprocessing.demo_corpus.manipulations import METHODS, REGIONS
from explain_deepfakes.preprocessing.demo_corpus.params import DemoVideoParams

SMALL = DemoVideoParams(
    seed=3,
    train_identities=2,
    val_identities=0,
    test_identities=2,
    frames=3,
    fps=12.0,
    height=240,
    width=320,
    crf=19,
    strength=1.0,
    workers=1,
)
LENGTHY = dataclasses.replace(SMALL, frames=24)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    make_demo_videos(out, SMALL)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def frames_of(sequence: DemoSequence, params: DemoVideoParams) -> list[dict[str, np.ndarray]]:
    cast = sample_actor(sequence.identity, sequence.case, params)
    takes = record_frames(cast, [], sequence.case == "empty", params.frames)
    return list(render_frames(sequence, cast, takes, params))


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(corpus: Path, tmp_path: Path) -> None:
    make_demo_videos(tmp_path, dataclasses.replace(SMALL, workers=2))
    assert contents(tmp_path) == contents(corpus)


def test_another_seed_gives_other_people() -> None:
    here, there = (sample_actor(0, "", dataclasses.replace(SMALL, seed=seed)) for seed in (0, 1))
    assert here.person.face != there.person.face


def test_real_and_fake_differ_in_nothing_but_their_pixels(corpus: Path) -> None:
    def container(path: Path) -> tuple:
        with av.open(str(path)) as video:
            stream = video.streams.video[0]
            codec = stream.codec_context
            written_by = path.read_bytes().partition(b"x264 - core")[2].partition(b"\x00")[0][:700].split(b"\x80")[0]
            return (
                stream.frames,
                stream.average_rate,
                codec.name,
                codec.profile,
                codec.width,
                codec.height,
                codec.pix_fmt,
                dict(video.metadata),
                dict(stream.metadata),
                stream.duration,
                written_by,
            )

    original = corpus / "original_sequences/youtube/c23/videos/000.mp4"
    for method in METHODS:
        assert container(corpus / f"manipulated_sequences/{method}/c23/videos/000_001.mp4") == container(original)


@pytest.mark.parametrize("identity", [0, 3])
def test_a_fake_is_its_original_wherever_the_mask_is_black(identity: int) -> None:
    sequence = DemoSequence(f"{identity:03d}", identity, identity ^ 1)
    for pictures in frames_of(sequence, SMALL):
        for method in METHODS:
            changed = (pictures[sequence.fake(method)] != pictures[sequence.original]).any(-1)
            mask = pictures[sequence.fake(method, "masks")] > 127
            assert not changed[~mask].any()
            assert changed[mask].mean() > 0.7
            assert 300 < mask.sum() < 0.15 * mask.size


def test_an_encoded_mask_still_marks_the_changed_pixels(corpus: Path) -> None:
    sequence = DemoSequence("000", 0, 1)
    for method in METHODS:
        with av.open(str(corpus / sequence.fake(method, "masks"))) as video:
            read = [frame.to_ndarray(format="gray") > 127 for frame in video.decode(video=0)]
        for mask, pictures in zip(read, frames_of(sequence, SMALL), strict=True):
            drawn = pictures[sequence.fake(method, "masks")] > 127
            assert (mask & drawn).sum() / (mask | drawn).sum() > 0.9


def test_masks_follow_the_head() -> None:
    sequence = DemoSequence("000", 0, 1)
    middles = [np.argwhere(p[sequence.fake("Deepfakes", "masks")]).mean(0) for p in frames_of(sequence, LENGTHY)]
    assert np.ptp(np.array(middles), axis=0).max() > 2


def test_no_part_of_the_face_is_in_most_of_the_masks() -> None:
    params = dataclasses.replace(SMALL, frames=1)
    masks = []
    for identity in range(0, 85, 5):  # 5 shares no factor with the number of regions of any method
        sequence = DemoSequence(f"{identity:03d}", identity, identity ^ 1)
        pose = sample_actor(identity, "", params).performance.poses[0]
        row, column = round(pose.y), round(pose.x)
        for pictures in frames_of(sequence, params):
            masks += [
                pictures[sequence.fake(method, "masks")][row - 60 : row + 90, column - 70 : column + 70] > 127
                for method in METHODS
            ]
    mean = np.mean(masks, 0)
    assert mean.max() < 0.6
    left, right = mean[:, :70].sum(), mean[:, 70:].sum()
    assert 0.75 < left / right < 1.33


def test_left_and_right_are_changed_equally_often() -> None:
    for method, regions in REGIONS.items():
        sides = [region.split()[0] for region in regions]
        assert sides.count("left") == sides.count("right"), method


def test_the_face_finder_finds_everybody_in_whole_and_half_size_frames() -> None:
    finder = MTCNN(thresholds=[0.85, 0.95, 0.95], keep_all=True, device="cpu")
    for identity in range(5):
        cast = sample_actor(identity, "", LENGTHY)
        for take, recorded in list(record_frames(cast, [], False, 24))[::15]:
            for scale in (1, 2):
                frame = Image.fromarray(recorded)
                frame = frame.resize((frame.width // scale, frame.height // scale))
                boxes, _ = finder.detect(frame)
                assert boxes is not None, f"identity {identity} at 1/{scale}"
                pose = take.view.pose
                left, top, right, bottom = boxes[0] * scale
                assert left < pose.x < right
                assert top < pose.y < bottom


def test_the_face_finder_finds_nobody_in_an_empty_room() -> None:
    finder = MTCNN(thresholds=[0.85, 0.95, 0.95], keep_all=True, device="cpu")
    for identity in range(4):
        cast = sample_actor(identity, "empty", SMALL)
        take, recorded = next(record_frames(cast, [], True, 3))
        assert take is None
        assert finder.detect(Image.fromarray(recorded))[0] is None


def test_whoever_leaves_is_out_of_the_picture_for_the_last_third() -> None:
    cast = sample_actor(0, "leaves", LENGTHY)
    for index, (take, _) in enumerate(record_frames(cast, [], False, 24)):
        assert (take.view.coverage.any() and take.view.coverage.sum() > 100) == (index < 15) or index == 15


def test_large_pictures_are_drawn_too() -> None:
    large = dataclasses.replace(SMALL, frames=1, height=720, width=1280)
    sequence = next(sequence for sequence in plan_corpus(large)[0] if sequence.source is not None)
    (pictures,) = frames_of(sequence, large)
    assert {picture.shape[:2] for picture in pictures.values()} == {(720, 1280)}


def test_splits_are_closed_under_swapping_and_hold_every_hard_case() -> None:
    params = dataclasses.replace(SMALL, train_identities=50, val_identities=14, test_identities=26)
    sequences, splits = plan_corpus(params)
    split_of = {name: split for split, pairs in splits.items() for pair in pairs for name in pair}
    assert len(split_of) == len(sequences) == sum(2 * len(pairs) for pairs in splits.values())
    for sequence in sequences:
        if sequence.source is not None:
            assert split_of[sequence.name] == split_of[f"{sequence.source:03d}"]
    in_test = {sequence.case for sequence in sequences if split_of[sequence.name] == "test"}
    assert in_test == {"", "empty", *HARD_CASES}


def test_the_split_files_name_the_videos_that_are_there(corpus: Path) -> None:
    listed = [
        name for path in sorted((corpus / "splits").glob("*.json")) for pair in json.loads(path.read_text()) for name in pair
    ]
    assert sorted(listed) == sorted(path.stem for path in (corpus / "original_sequences").rglob("*.mp4"))


def test_a_second_run_draws_nothing_and_leaves_videos_of_ones_own(tmp_path: Path) -> None:
    params = dataclasses.replace(SMALL, test_identities=0)
    make_demo_videos(tmp_path, params)
    own = tmp_path / "original_sequences/youtube/c23/videos/mine.mp4"
    own.write_bytes(b"somebody's")
    before = times(tmp_path)
    make_demo_videos(tmp_path, params)
    assert times(tmp_path) == before


def test_a_killed_run_ends_as_if_it_had_not_been_killed(corpus: Path, tmp_path: Path) -> None:
    make_demo_videos(tmp_path, SMALL)
    (tmp_path / "original_sequences/youtube/c23/videos/001.mp4").unlink()
    (tmp_path / "splits/val.json").unlink()
    (tmp_path / "original_sequences/youtube/c23/videos/.001.77.part.mp4").write_bytes(b"half")
    ledger = tmp_path / "demo_videos.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    lines[2]["key"] = "begun"
    ledger.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"name": "00')
    make_demo_videos(tmp_path, SMALL)
    assert contents(tmp_path) == contents(corpus)


def test_fewer_identities_remove_what_was_made_for_the_others_and_nothing_else(tmp_path: Path) -> None:
    params = dataclasses.replace(SMALL, frames=1, test_identities=0)
    make_demo_videos(tmp_path, dataclasses.replace(params, train_identities=4))
    own = tmp_path / "manipulated_sequences/FaceSwap/c23/videos/900_901.mp4"
    own.write_bytes(b"somebody's")
    make_demo_videos(tmp_path, params)
    assert {path.stem for path in tmp_path.rglob("*.mp4")} == {"000", "001", "000_001", "001_000", "900_901"}


def test_a_video_that_was_not_made_here_is_never_overwritten(tmp_path: Path) -> None:
    own = tmp_path / "original_sequences/youtube/c23/videos/000.mp4"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"the real FaceForensics++")
    with pytest.raises(UserError, match="000.mp4"):
        make_demo_videos(tmp_path, SMALL)
    assert own.read_bytes() == b"the real FaceForensics++"
    assert [name for _, _, names in os.walk(tmp_path) for name in names] == ["000.mp4"]


def test_an_odd_number_of_identities_is_refused() -> None:
    with pytest.raises(UserError, match="train_identities"):
        dataclasses.replace(SMALL, train_identities=3)
