"""Files and names that were made to mislead: no other file is opened, no fake is hidden, and nothing obeys a name."""

import io
import os
import smtplib
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from av.stream import Disposition
from little_videos import project, reading
from PIL import Image
from rich.console import Console

from explain_deepfakes.model_test_train.metrics.drawing import plt, save_figure
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import read_yaml
from explain_deepfakes.pipeline.project import CODE, from_root, relative
from explain_deepfakes.preprocessing.corpus.file_facts import inspect_file
from explain_deepfakes.preprocessing.video.video import Deadline, UnreadableVideo, probe_video, read_frames
from explain_deepfakes.serving.examination.predictions import printable
from explain_deepfakes.serving.models import retraining

PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
REFERENCES = {  # to a video in the same folder
    "ffconcat.mp4": "ffconcat version 1.0\nfile 'other.ts'\n",
    "concat.mkv": "ffconcat version 1.0\nfile other.ts\n",
    "playlist.m3u8": PLAYLIST.format("other.ts"),
    "playlist.mp4": PLAYLIST.format("other.ts"),
}


def write_stream(path: Path, shades: list[int], codec: str = "libx264") -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in shades:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), "rgb24")))
        file.mux(stream.encode())


@pytest.mark.parametrize("name", REFERENCES)
def test_a_file_that_refers_to_another_one_is_no_video(tmp_path: Path, name: str) -> None:
    write_stream(tmp_path / "other.ts", [100] * 5)
    assert probe_video(tmp_path / "other.ts", reading()).frames_present == 5
    path = tmp_path / name
    path.write_text(REFERENCES[name])
    with pytest.raises(UnreadableVideo, match="its format is not one of videos or pictures|Invalid data"):
        probe_video(path, reading())
    assert not inspect_file(path)[1].has_pictures


def test_a_playlist_cannot_open_a_file_by_its_absolute_path(tmp_path: Path) -> None:
    write_stream(tmp_path / "other.ts", [100] * 5)
    path = tmp_path / "list.m3u8"
    path.write_text(PLAYLIST.format(tmp_path / "other.ts"))
    with pytest.raises(UnreadableVideo):
        probe_video(path, reading())


@pytest.fixture
def with_decoy(tmp_path: Path) -> Path:
    """Two streams: a dark one comes first, and a bright one is marked as the default, which players show."""
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as file:
        streams = [file.add_stream("libx264", rate=5) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for stream, shade in zip(streams, (20, 220), strict=True):
            for _ in range(6):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), "rgb24")))
            file.mux(stream.encode())
    return path


def test_the_stream_that_players_show_is_read_and_others_are_counted(with_decoy: Path) -> None:
    facts = probe_video(with_decoy, reading())
    assert (facts.frames_present, facts.other_streams) == (6, 1)
    assert [round(float(picture.mean()), -1) for _, picture in read_frames(with_decoy, [0, 5], reading())] == [220, 220]


def test_control_characters_and_markup_of_names_do_not_reach_the_terminal() -> None:
    output = io.StringIO()
    Console(file=output, force_terminal=True, color_system=None).print(printable("a\x1b[31m[bold red]b[/]\r.mp4"))
    assert output.getvalue() == "a\ufffd[31m[bold red]b[/]\ufffd.mp4\n"


@pytest.mark.parametrize("name", ["$^$.mp4", "$\\frac{$.mp4", "a_$b$_c"])
def test_names_with_dollar_signs_can_be_drawn(tmp_path: Path, name: str) -> None:
    figure, axes = plt.subplots()
    axes.set_title(name)
    save_figure(tmp_path / "figure.png", figure)
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_the_password_goes_to_no_server_without_a_valid_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = []

    class FakeServer:
        def __init__(self, *_: object, **__: object) -> None: ...
        def __enter__(self) -> "FakeServer":
            return self

        def __exit__(self, *_: object) -> None: ...
        def starttls(self, context: object = None) -> None:
            contexts.append(context)

        def login(self, *_: object) -> None: ...
        def send_message(self, *_: object) -> None: ...

    monkeypatch.setattr(smtplib, "SMTP", FakeServer)
    account = {"host": "mail.example", "user": "u", "password": "p", "from": "a@b.c", "to": "d@e.f"}
    retraining.send_email(account, "text")
    (context,) = contexts
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_aliases_of_a_yaml_file_cannot_blow_it_up(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(levels))
    with pytest.raises(UserError, match="has more than 100000 values, since its aliases repeat others"):
        read_yaml(path)
    path.write_text("a: &a [1, 2]\nb: *a\n")
    assert read_yaml(path) == {"a": [1, 2], "b": [1, 2]}


def test_a_line_break_in_an_option_of_the_cluster_is_no_command(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    section = {"partition": "main\ntouch stolen", "account": None, "hours": 1, "cpus": 1, "memory_gb": 1, "gpus": 0, "nodes": 1}
    path.write_text(yaml.safe_dump({"setup": [], "all": {**section, "seconds_to_end": 20, "options": []}}))
    command = ["bash", str(CODE / "BWCluster/train_model.sh"), "--cluster", str(path), "--dry-run"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert "contains a line break" in done.stderr


def test_a_name_that_a_spreadsheet_would_compute_is_written_as_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project(tmp_path))
    assert relative(Path("=1+1.mp4")) == "./=1+1.mp4"
    assert from_root(relative(Path("=1+1.mp4"))) == from_root("=1+1.mp4")
    assert relative(Path("videos/=1+1.mp4")) == "videos/=1+1.mp4"


@pytest.mark.parametrize(("ratio", "size"), [((2, 1), (128, 48)), ((1, 2), (64, 96)), ((1, 1), (64, 48)), ((0, 1), (64, 48))])
def test_pixels_that_are_not_square_are_shown_as_players_show_them(
    tmp_path: Path, ratio: tuple[int, int], size: tuple[int, int]
) -> None:
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*ratio)
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")))
        file.mux(stream.encode())
    facts = probe_video(path, reading())
    assert (facts.width, facts.height) == size
    assert [picture.shape for _, picture in read_frames(path, [0], reading())] == [(size[1], size[0], 3)]


def test_counting_the_frames_of_a_video_ends_at_the_deadline_and_on_cancellation(tmp_path: Path) -> None:
    path = tmp_path / "long.webm"
    write_stream(path, [n % 250 for n in range(3000)], "libvpx")  # its frames are counted by decoding them
    is_cancelled = threading.Event()
    with pytest.raises(UnreadableVideo, match=r"reading it takes more than 0\.01 seconds"):
        probe_video(path, reading(), Deadline(0.01, is_cancelled))
    is_cancelled.set()
    begun = time.monotonic()
    with pytest.raises(UnreadableVideo):
        probe_video(path, reading(), Deadline(60, is_cancelled))
    assert time.monotonic() - begun < 30
    assert probe_video(path, reading(), Deadline(60, threading.Event())).frames_present == 3000


def test_an_animated_webp_is_refused_with_its_remedy(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.full((64, 64, 3), shade, np.uint8)) for shade in (0, 100, 200)]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], duration=100)
    with pytest.raises(UnreadableVideo, match="animated WebP is not supported"):
        probe_video(tmp_path / "a.webp", reading())
    pictures[0].save(tmp_path / "still.webp")
    assert probe_video(tmp_path / "still.webp", reading()).frames_present == 1
