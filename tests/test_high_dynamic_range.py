"""Videos in PQ and HLG, as phones record them, are examined with the colours that usual screens show."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from little_videos import reading
from numpy.typing import NDArray

from explain_deepfakes.preprocessing.video.video import read_frames

COLOURS = [(205, 165, 140), (60, 40, 35), (120, 120, 120), (170, 80, 85), (30, 90, 150), (220, 220, 220)]
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
BT2020, WIDTH = 9, 16
Light = NDArray[np.float64]  # 1: white of a usual picture, which is 203 nits


def encode_pq(light: Light) -> Light:
    power = (light * 203 / 10_000) ** (1305 / 8192)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def encode_hlg(light: Light) -> Light:
    display = light * 203 / 1000
    scene = display * np.maximum(display @ [0.2627, 0.6780, 0.0593], 1e-9)[..., None] ** (-0.2 / 1.2)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def write_bt2020(path: Path, light: Light, name: str, encode: Callable[[Light], Light]) -> None:
    signal = (np.clip(encode(light), 0, 1) * 65535 + 0.5).astype(np.uint16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25)
        stream.height, stream.width = signal.shape[:2]
        stream.pix_fmt = "yuv444p10le"
        colours = f"colorprim=bt2020:transfer={name}:colormatrix=bt2020nc"
        stream.options = {"crf": "5", "x265-params": f"log-level=none:pools=1:frame-threads=1:bframes=0:{colours}"}
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(signal, "rgb48le")
            container.mux(stream.encode(frame.reformat(format="yuv444p10le", dst_colorspace=BT2020, dst_color_range=1)))
        container.mux(stream.encode())


@pytest.mark.parametrize(("name", "encode"), [("smpte2084", encode_pq), ("arib-std-b67", encode_hlg)])
def test_colours_are_those_of_the_usual_picture_and_what_is_brighter_is_compressed(
    tmp_path: Path, name: str, encode: Callable[[Light], Light]
) -> None:
    usual = (np.array(COLOURS) / 255) ** 2.4 @ TO_BT2020.T
    light = np.concatenate([usual, np.full((1, 3), 1.5), np.full((1, 3), 4.0)])
    write_bt2020(tmp_path / "phone.mp4", light.repeat(WIDTH, 0)[None].repeat(64, 0), name, encode)
    ((_, picture), *_) = read_frames(tmp_path / "phone.mp4", None, reading())
    middles = picture[32, WIDTH // 2 :: WIDTH].astype(int)
    assert np.abs(middles[: len(COLOURS)] - COLOURS).max() <= 3
    assert 220 < middles[-2].min() < middles[-1].min() <= 255
