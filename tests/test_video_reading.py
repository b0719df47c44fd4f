"""Any requested frames are read correctly by either reader and any number of threads; decoder failures are isolated."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from little_videos import HEIGHT, WIDTH, numbered, plain, reading, write_video
from PIL import Image
from strange_videos import encode, face

from explain_deepfakes.preprocessing.video import video
from explain_deepfakes.preprocessing.video.fork_server import ForkedProcess
from explain_deepfakes.preprocessing.video.params import READERS
from explain_deepfakes.preprocessing.video.sampling import evenly_spaced
from explain_deepfakes.preprocessing.video.video import (
    DecodingStats,
    UnreadableVideo,
    VideoFacts,
    open_video,
    probe_video,
    read_frames,
    shrunk_size,
)

UPRIGHT = bytes.fromhex("00010000" + "00000000" * 3 + "00010000" + "00000000" * 3 + "40000000")
MIRRORED = bytes.fromhex("ffff0000" + "00000000" * 3 + "00010000" + "00000000" * 3 + "40000000")
TURNED_CLOCKWISE = bytes.fromhex("00000000" + "00010000" + "00000000" + "ffff0000" + "00000000" * 4 + "40000000")
EVERY_READER = pytest.mark.parametrize(
    "reader", [pytest.param(name, marks=pytest.mark.skipif(not find_spec(name.replace("pyav", "av")), reason="not here"))
               for name in READERS]
)  # fmt: skip
KEYS = {"x264-params": "keyint=20:min-keyint=1:scenecut=0:bframes=3:b-pyramid=normal"}
KINDS = {
    "h264.mp4": ("libx264", {"codec_options": KEYS}),
    "pyramid.mkv": ("libx264", {"codec_options": {"x264-params": "bframes=7:b-pyramid=normal:b-adapt=0"}}),
    "open.mkv": ("libx264", {"codec_options": {"x264-params": KEYS["x264-params"] + ":open-gop=1"}}),
    "h264.ts": ("libx264", {"codec_options": KEYS}),
    "h264.avi": ("libx264", {"codec_options": KEYS}),
    "interlaced.mp4": ("libx264", {"codec_options": {"x264-params": "interlaced=1:bframes=2"}}),
    "uneven.mp4": ("libx264", {"codec_options": KEYS, "times": [7 * index**2 for index in range(60)]}),
    "hevc.mp4": ("libx265", {"codec_options": {"x265-params": "log-level=none:keyint=20:min-keyint=20:open-gop=1"}}),
    "layers.mp4": ("libx265", {"codec_options": {"x265-params": "log-level=none:temporal-layers=3:b-adapt=0:bframes=7"}}),
    "vp9.webm": ("libvpx-vp9", {"codec_options": {"deadline": "good", "cpu-used": "8", "lag-in-frames": "16", "g": "20"}}),
    "vp8.webm": ("libvpx", {"codec_options": {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"}}),
    "av1.mp4": ("libsvtav1", {"codec_options": {"preset": "12", "g": "20"}}),
    "mpeg4.mp4": ("mpeg4", {"codec_options": {"bf": "2", "g": "20"}}),
    "mpeg4.avi": ("mpeg4", {"codec_options": {"bf": "2", "g": "20"}}),
    "mpeg2.ts": ("mpeg2video", {"codec_options": {"bf": "2"}}),
    "mjpeg.avi": ("mjpeg", {"pixels": "yuvj420p"}),
    "ten_bits.mp4": ("libx264", {"pixels": "yuv420p10le"}),
}
SPARSE = [1, 2, 26, 33, 47, 48, 59]


def moving(count):
    """Pictures of which no two are equal, and which are hard to predict."""
    rng = np.random.default_rng(0)
    still = rng.integers(0, 40, (HEIGHT, WIDTH, 3))
    for index, picture in enumerate(face(count)):
        yield (picture + still + (index * 7) % 50 + rng.integers(0, 6, (HEIGHT, WIDTH, 1))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    os.environ["SVT_LOG"] = "0"
    for name, (codec, options) in KINDS.items():
        encode(folder / name, codec, list(moving(60)), **options)
    return folder


def plainly_decoded(path):
    """Decode all frames in order with one thread."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def shades(frames):
    return [round((float(picture.mean()) - 16) / 8) for _, picture in frames]


@pytest.fixture
def ten_frames(tmp_path):
    return write_video(tmp_path / "ten.mp4", (numbered(index) for index in range(10)))


@pytest.mark.parametrize(
    ("count", "requested", "expected"),
    [(10, 5, [1, 3, 5, 7, 9]), (300, 3, [50, 150, 250]), (2, 5, [0, 1]), (0, 5, []), (7, 1, [3])],
)
def test_evenly_spaced_reaches_the_end_of_the_video(count, requested, expected):
    assert evenly_spaced(count, requested) == expected


@EVERY_READER
def test_the_frames_asked_for_are_the_frames_given(ten_frames, reader):
    with open_video(ten_frames, reading(reader=reader)) as opened:
        frames = list(opened.frames([7, 2, 99]))
        assert [index for index, _ in frames] == [2, 7]
        assert shades(frames) == [2, 7]
        assert opened.stats.frames_missing == 1
        assert shades(opened.frames()) == list(range(10))
        assert opened.stats == DecodingStats(frames_decoded=10)
        assert list(opened.frames([])) == []


@EVERY_READER
def test_facts_are_those_of_the_video(ten_frames, reader):
    expected = VideoFacts(WIDTH, HEIGHT, 25.0, 10, 10, container="mov,mp4,m4a,3gp,3g2,mj2", codec="h264")
    assert probe_video(ten_frames, reading(reader=reader)) == expected


@pytest.mark.parametrize("name", KINDS)
def test_frames_are_bit_for_bit_those_of_a_full_decode(kinds, name):
    expected = plainly_decoded(kinds / name)
    assert len(expected) == 60
    for threads in (1, 3):
        with open_video(kinds / name, reading(decoder_threads=threads)) as opened:
            assert opened.facts.frames_present == 60
            for indices in (SPARSE, [45], None):
                pictures = dict(opened.frames(indices))
                assert list(pictures) == (list(range(60)) if indices is None else indices)
                assert all(np.array_equal(picture, expected[index]) for index, picture in pictures.items())
                assert opened.stats.frames_damaged == 0


@pytest.mark.parametrize(("name", "at_most"), [("h264.mp4", 8), ("pyramid.mkv", 40), ("hevc.mp4", 12), ("mpeg4.mp4", 12)])
def test_what_nobody_needs_is_not_decoded(kinds, name, at_most):
    with open_video(kinds / name, reading()) as opened:
        assert len(list(opened.frames([45]))) == 1
        assert opened.stats.frames_decoded <= at_most


@pytest.mark.skipif(not find_spec("decord"), reason="decord is not here")
@pytest.mark.parametrize(
    "name", ["h264.mp4", "pyramid.mkv", "h264.avi", "uneven.mp4", "hevc.mp4", "vp9.webm", "mpeg4.mp4", "mjpeg.avi"]
)
def test_both_readers_give_the_same_pixels(kinds, name):
    """Downscaled frames differ slightly: with PyAV, luma and chroma are averaged as coded, with decord RGB is averaged."""
    for longest_side, tolerance in ((None, 0), (70, 3)):
        ours, theirs = (dict(read_frames(kinds / name, SPARSE, reading(reader=reader), longest_side)) for reader in READERS)
        assert list(ours) == list(theirs) == SPARSE
        for index in SPARSE:
            assert ours[index].shape == theirs[index].shape
            assert np.abs(ours[index].astype(int) - theirs[index]).mean() <= tolerance


@pytest.mark.skipif(not find_spec("decord"), reason="decord is not here")
def test_readers_differ_little_in_colours_that_are_interpolated(kinds):
    ours, theirs = (dict(read_frames(kinds / "ten_bits.mp4", SPARSE, reading(reader=reader))) for reader in READERS)
    assert all(np.abs(ours[index].astype(int) - theirs[index]).mean() < 1.5 for index in SPARSE)


@pytest.mark.skipif(not find_spec("decord"), reason="decord is not here")
@pytest.mark.parametrize("name", ["interlaced.mp4", "av1.mp4", "h264.ts"])
def test_what_decord_would_get_wrong_names_the_other_reader(kinds, name):
    with pytest.raises(UnreadableVideo, match=r"decord .* set read_video\.reader to pyav"):
        list(read_frames(kinds / name, None, reading(reader="decord")))


@pytest.mark.parametrize(
    ("longest_side", "size"), [(None, (161, 121)), (400, (161, 121)), (161, (161, 121)), (80, (80, 60)), (1, (1, 1))]
)
def test_shrunk_pictures_have_the_size_that_is_said(tmp_path, longest_side, size):
    encode(tmp_path / "odd.mkv", "mpeg4", list(face(2, 161, 121)))
    assert shrunk_size(161, 121, longest_side) == size
    _, picture = next(read_frames(tmp_path / "odd.mkv", None, reading(), longest_side))
    assert picture.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("name", ["h264.mp4", "hevc.mp4", "vp9.webm", "h264.ts"])
def test_frames_asked_for_again_are_the_same(kinds, name):
    """So are other frames that must be decoded on the way."""
    full = dict(read_frames(kinds / name, None, reading()))
    with open_video(kinds / name, reading()) as video:
        assert [index for index, _ in video.frames(SPARSE, 40, keep_decoded=True)] == SPARSE
        for indices in (SPARSE, SPARSE[1:], [0, *SPARSE]):
            again = dict(video.frames(indices))
            assert list(again) == indices
            assert all(np.array_equal(again[index], full[index]) for index in indices)


@pytest.mark.parametrize("longest_side", [80, 70, 40])
def test_a_shrunk_picture_shows_what_the_whole_one_shows(tmp_path, longest_side):
    """Also for integer factors, for which the colours are downscaled as they are coded."""
    encode(tmp_path / "clip.mp4", "libx264", list(face(2, 160, 120)))
    _, full = next(read_frames(tmp_path / "clip.mp4", None, reading()))
    _, shrunk = next(read_frames(tmp_path / "clip.mp4", None, reading(), longest_side))
    expected = cv2.resize(full, shrunk_size(160, 120, longest_side), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - expected).mean() < 3


def test_shrinking_averages(tmp_path):
    stripes = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stripes[:, ::2] = 240
    encode(tmp_path / "stripes.mkv", "ffv1", [stripes], pixels="yuv444p")
    _, picture = next(read_frames(tmp_path / "stripes.mkv", None, reading(), WIDTH // 2))
    assert np.abs(picture.astype(int) - 120).max() < 8


def test_colours_survive(tmp_path):
    """Colours are converted by the matrix and the range of the file, not by defaults."""
    bars = np.repeat(np.array([[200, 30, 30], [30, 180, 40], [40, 50, 190], [128] * 3], np.uint8), WIDTH // 4, 0)
    picture = np.broadcast_to(bars, (HEIGHT, WIDTH, 3))
    for name, colour in {"usual": {}, "bt709": {"colorspace": 1}, "full": {"color_range": 2}}.items():
        path = tmp_path / f"{name}.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
            to = {"dst_colorspace": "ITU709"} if name == "bt709" else {"dst_color_range": "JPEG"} if name == "full" else {}
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(format="yuv444p", **to)
            for key, value in colour.items():
                setattr(stream.codec_context, key, value)
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        _, decoded = next(read_frames(path, None, reading()))
        assert np.abs(decoded.astype(int) - picture).max() <= 4, name


def test_of_a_truncated_video_the_frames_that_decode_are_used(tmp_path):
    complete = write_video(tmp_path / "whole.mkv", (numbered(index % 25) for index in range(120)))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(complete.read_bytes()[: complete.stat().st_size // 2])
    facts = probe_video(cut, reading())
    assert 10 < facts.frames_present < 120
    assert len(list(read_frames(cut, None, reading()))) == facts.frames_present


def test_a_header_that_promises_too_much_is_not_believed(tmp_path):
    complete = write_video(tmp_path / "whole.mp4", (numbered(index % 25) for index in range(60)), header_first=True)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(complete.read_bytes()[:-2000])
    facts = probe_video(cut, reading())
    assert facts.frames_promised == 60
    assert 0 < facts.frames_present < 60
    assert len(list(read_frames(cut, None, reading()))) == facts.frames_present


@pytest.mark.parametrize("name", ["h264.mp4", "hevc.mp4", "vp9.webm", "vp8.webm", "av1.mp4", "mpeg4.mp4", "h264.ts"])
def test_damage_shows_the_same_each_time_and_with_any_number_of_threads(kinds, tmp_path, name):
    """With several threads, error concealment would give different pixels each time."""
    content = bytearray((kinds / name).read_bytes())
    for offset in range(len(content) // 3, len(content) - 3000, 1500):
        content[offset] ^= 0x55
    (tmp_path / name).write_bytes(content)
    results = []
    for threads in (1, 2, 4, 4):
        with open_video(tmp_path / name, reading(decoder_threads=threads)) as opened:
            pictures = {index: picture.tobytes() for index, picture in opened.frames()}
            results.append((opened.facts, opened.stats, pictures))
    assert results[1:] == results[:1] * 3
    stats = results[0][1]
    assert stats.frames_damaged > 0 or name in (
        "hevc.mp4",
        "vp9.webm",
        "vp8.webm",
    )  # these decode most wrong bits
    assert stats.frames_missing == results[0][0].frames_present - len(pictures)


def test_a_healthy_video_has_no_damage(kinds):
    with open_video(kinds / "h264.mp4", reading()) as opened:
        assert len(list(opened.frames())) == 60
        assert opened.stats == DecodingStats(frames_decoded=60)


@pytest.mark.parametrize(
    ("matrix", "shape", "corner"),
    [
        pytest.param(TURNED_CLOCKWISE, (WIDTH, HEIGHT, 3), (10, -10), id="turned"),
        pytest.param(MIRRORED, (HEIGHT, WIDTH, 3), (10, -10), id="mirrored"),
        pytest.param(UPRIGHT, (HEIGHT, WIDTH, 3), (10, 10), id="upright"),
    ],
)
def test_a_video_is_read_as_it_is_to_be_shown(tmp_path, matrix, shape, corner):
    picture = plain(0)
    picture[: HEIGHT // 2, : WIDTH // 2] = 255
    path = write_video(tmp_path / "turned.mp4", [picture] * 3)
    assert path.read_bytes().count(UPRIGHT) == 2  # of the movie, then of its only track
    before, header, rest = path.read_bytes().partition(b"tkhd")
    path.write_bytes(before + header + rest.replace(UPRIGHT, matrix, 1))
    _, decoded = next(read_frames(path, None, reading()))
    assert decoded.shape == shape
    assert decoded[corner].min() > 200
    assert sum(decoded[y, x].min() > 200 for y in (10, -10) for x in (10, -10)) == 1
    assert probe_video(path, reading()).width == shape[1]


def test_a_photograph_of_a_turned_camera_is_read_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = plain(0)
    picture[:40, :40] = 255
    Image.fromarray(picture).save(tmp_path / "lying.jpg", exif=exif)
    _, decoded = next(read_frames(tmp_path / "lying.jpg", None, reading()))
    assert decoded.shape == (WIDTH, HEIGHT, 3)
    assert decoded[10, -10].min() > 200


def test_what_is_transparent_is_white(tmp_path):
    picture = np.dstack([plain(40), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    picture[:, :30] = (200, 0, 0, 0)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    images = [Image.fromarray(picture)] * 2
    images[0].save(tmp_path / "moving.gif", save_all=True, append_images=[Image.fromarray(picture[::-1])], disposal=2)
    for name in ("picture.png", "moving.gif"):
        _, decoded = next(read_frames(tmp_path / name, None, reading()))
        assert decoded[60, 10].tolist() == [255, 255, 255]
        assert np.abs(decoded[60, 100].astype(int) - 40).max() < 8


def test_limits_are_kept_and_named(tmp_path, ten_frames):
    cv2.imwrite(str(tmp_path / "vast.png"), np.zeros((5000, 6000, 3), np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    with pytest.raises(UnreadableVideo, match="megapixels"):
        probe_video(tmp_path / "vast.png", reading(max_megapixels=29))
    with pytest.raises(UnreadableVideo, match="500 MB of memory; raise read_video.max_memory_mb"):
        list(read_frames(tmp_path / "vast.png", None, reading(max_memory_mb=500)))
    assert [picture.shape for _, picture in read_frames(tmp_path / "vast.png", None, reading(), 90)] == [(75, 90, 3)]
    with open_video(ten_frames, reading(max_frames=4)) as opened:
        assert opened.facts.frames_present == 4
        assert shades(opened.frames()) == [0, 1, 2, 3]
        assert "max_frames" in opened.stats.ended_early


@EVERY_READER
@pytest.mark.parametrize("content", [None, b"", b"no video at all" * 50], ids=["missing", "empty", "text"])
def test_what_is_no_video_is_said_to_be_none(tmp_path, reader, content):
    path = tmp_path / "broken.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableVideo) as error:
        probe_video(path, reading(reader=reader))
    assert error.value.reason
    assert error.value.remedy
    with pytest.raises(UnreadableVideo):
        list(read_frames(path, [0], reading(reader=reader)))


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to("gone.mp4")
    for name, message in (("pipe.mp4", "not a regular file"), ("link.mp4", "broken symbolic link"), (".", "a folder")):
        with pytest.raises(UnreadableVideo, match=message):
            probe_video(tmp_path / name, reading())


def test_an_open_pair_of_videos_and_one_that_is_given_up_do_not_meet(kinds, ten_frames):
    with open_video(kinds / "h264.mp4", reading()) as first, open_video(ten_frames, reading()) as second:
        abandoned = first.frames()
        next(abandoned)
        assert shades(second.frames([3, 4])) == [3, 4]
        abandoned.close()
        assert [index for index, _ in first.frames([5, 6])] == [5, 6]
    assert shades(read_frames(ten_frames, [8], reading())) == [8]


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("sleeps", "returned nothing for 0.5 seconds; raise read_video.max_seconds_stuck"),
        ("crashes", "SIGSEGV"),
        ("is_killed", "SIGKILL"),
    ],
)
def test_a_decoder_that_fails_costs_its_own_video_alone(tmp_path, monkeypatch, ten_frames, failure, message):
    """The frames before the failure are used."""
    with open_video(ten_frames, reading()) as healthy:
        frames = healthy.frames()
        assert next(frames)[0] == 0
        with monkeypatch.context() as patch:
            patch.setattr(video, "DECODER", "failing_decoder")
            patch.setattr(video, "_idle_decoders", [])
            (tmp_path / failure).touch()
            with open_video(tmp_path / failure, reading(max_seconds_stuck=0.5)) as failing:
                failing_frames = failing.frames()
                assert [next(failing_frames)[0], next(failing_frames)[0]] == [0, 1]
                with pytest.raises(UnreadableVideo, match=message):
                    next(failing_frames)
                assert failing.stats.frames_decoded == 2
                assert failing.stats.ended_early
        assert len(list(frames)) == 9


def test_what_a_decoder_gave_before_it_died_is_used_however_late_it_is_asked_for(tmp_path, monkeypatch):
    def receive_late(process, seconds):
        time.sleep(0.3)
        return receive(process, seconds)

    receive = ForkedProcess.receive
    monkeypatch.setattr(video, "DECODER", "failing_decoder")
    monkeypatch.setattr(video, "_idle_decoders", [])
    monkeypatch.setattr(ForkedProcess, "receive", receive_late)
    (tmp_path / "crashes").touch()
    with open_video(tmp_path / "crashes", reading()) as failing:
        failing_frames = failing.frames()
        assert [next(failing_frames)[0], next(failing_frames)[0]] == [0, 1]
        with pytest.raises(UnreadableVideo, match="SIGSEGV"):
            next(failing_frames)


def test_an_error_of_ours_in_the_decoder_is_shown(tmp_path):
    code = """if True:
        import sys
        sys.path.insert(0, sys.argv[2])
        from pathlib import Path
        from little_videos import reading
        from explain_deepfakes.preprocessing.video import video
        video.DECODER = "failing_decoder"
        with video.open_video(Path(sys.argv[1]), reading()) as failing:
            try:
                list(failing.frames())
            except video.UnreadableVideo as error:
                print(error)
    """
    (tmp_path / "has_a_bug").touch()
    command = [sys.executable, "-c", code, str(tmp_path / "has_a_bug"), str(Path(__file__).parent)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the decoder failed, see the error above" in result.stdout
    assert "ValueError: a bug of ours" in result.stderr


def is_running(pid):
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_the_decoder_has_no_torch_and_ends_with_a_parent_that_is_killed(ten_frames):
    code = """if True:
        import sys, torch
        sys.path.insert(0, sys.argv[2])
        from pathlib import Path
        from little_videos import reading
        from explain_deepfakes.preprocessing.video.video import open_video
        with open_video(Path(sys.argv[1]), reading()) as video:
            frames = video.frames()
            next(frames)
            print(video.process.pid, video.process.server.process.pid, flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", code, str(ten_frames), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(is_running(pid) for pid in pids)
        assert not any("torch" in Path(f"/proc/{pid}/maps").read_text() for pid in pids)
        parent.send_signal(signal.SIGKILL)
    for _ in range(100):
        if not any(is_running(pid) for pid in pids):
            break
        time.sleep(0.1)
    assert not any(is_running(pid) for pid in pids)
