"""Frames come as they decode, the same from both readers."""

import numpy as np
import pytest
from little_videos import HEIGHT, WIDTH, draw_face, numbered, plain, write_video

from preprocessing.video import READERS, UnreadableVideo, evenly_spaced, read_frames, survey

UPRIGHT = bytes.fromhex("00010000" + "00000000" * 3 + "00010000" + "00000000" * 3 + "40000000")
TURNED_CLOCKWISE = bytes.fromhex("00000000" + "00010000" + "00000000" + "ffff0000" + "00000000" * 4 + "40000000")


def shades(frames):
    return [round((float(picture.mean()) - 16) / 8) for _, picture in frames]


@pytest.fixture
def ten_frames(tmp_path):
    return write_video(tmp_path / "ten.mp4", (numbered(index) for index in range(10)))


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [(10, 5, [1, 3, 5, 7, 9]), (300, 3, [50, 150, 250]), (2, 5, [0, 1]), (0, 5, []), (7, 1, [3])],
)
def test_evenly_spaced_reaches_the_end_of_the_video(count, wanted, expected):
    assert evenly_spaced(count, wanted) == expected


@pytest.mark.parametrize("reader", READERS)
def test_the_frames_asked_for_are_the_frames_given(ten_frames, reader):
    frames = list(read_frames(ten_frames, [7, 2, 99], reader))
    assert [index for index, _ in frames] == [2, 7]
    assert shades(frames) == [2, 7]
    assert shades(read_frames(ten_frames, reader=reader)) == list(range(10))


@pytest.mark.parametrize("reader", READERS)
def test_facts_are_those_of_the_video(ten_frames, reader):
    facts = survey(ten_frames, reader)
    assert (facts.width, facts.height, facts.frame_rate) == (WIDTH, HEIGHT, 25)
    assert (facts.frames_promised, facts.frames_decoded) == (10, 10)


def test_both_readers_give_the_same_pixels(tmp_path):
    path = write_video(tmp_path / "face.mp4", (draw_face(plain(100), 60 + step, 60) for step in range(5)))
    for (_, one), (_, other) in zip(read_frames(path), read_frames(path, reader="decord"), strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


def test_of_a_truncated_video_the_frames_that_decode_are_used(tmp_path):
    whole = write_video(tmp_path / "whole.mkv", (numbered(index % 25) for index in range(120)))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    facts = survey(cut)
    assert 10 < facts.frames_decoded < 120
    assert len(list(read_frames(cut))) == facts.frames_decoded


def test_a_header_that_promises_too_much_is_not_believed(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", (numbered(index % 25) for index in range(60)), header_first=True)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-2000])
    facts = survey(cut)
    assert facts.frames_promised == 60
    assert 0 < facts.frames_decoded < 60
    assert len(list(read_frames(cut))) == facts.frames_decoded


def test_a_video_with_a_turned_camera_is_read_upright(tmp_path):
    picture = plain(0)
    picture[: HEIGHT // 2, : WIDTH // 2] = 255  # comes to stand at the upper right
    path = write_video(tmp_path / "turned.mp4", [picture] * 3)
    assert path.read_bytes().count(UPRIGHT) == 2  # of the whole, then of the one track
    before, header, rest = path.read_bytes().partition(b"tkhd")
    path.write_bytes(before + header + rest.replace(UPRIGHT, TURNED_CLOCKWISE, 1))
    _, seen = next(read_frames(path))
    assert seen.shape == (WIDTH, HEIGHT, 3)
    assert seen[10, -10].min() > 200
    assert seen[10, 10].max() < 50
    assert (survey(path).width, survey(path).height) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", [None, b"", b"no video at all" * 50], ids=["missing", "empty", "text"])
def test_what_is_no_video_is_said_to_be_none(tmp_path, reader, content):
    path = tmp_path / "broken.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableVideo) as error:
        survey(path, reader)
    assert error.value.reason
    assert error.value.remedy
    with pytest.raises(UnreadableVideo):
        list(read_frames(path, [0], reader))
