"""The figures of a sample: the crop beside its heatmaps, and over them what was judged and whether that was right.

Of a fake whose original is at hand, also the two side by side.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from textwrap import shorten

import cv2
import matplotlib
import numpy as np
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont

from explain_model.inputs.samples import ExplainedSample
from explain_model.maps.heatmaps import Heat
from explain_model.maps.methods import MapMethod
from model_test_train.metrics.verdicts import FAKE_VERDICT, REAL_VERDICT
from pipeline.outputs import atomic_write
from preprocessing.crops.png import encode_png

COLOURS = matplotlib.colormaps["inferno"]  # perceptually even, and safe for the colour-blind
TRUTH_COLOUR = (51, 230, 255)  # of the manipulated region's outline; inferno has no such blue
SCALE = {0: "0", 0.25: "1×", 0.5: "3×", 0.75: "9×", 1: "∞"}  # heat, in times the fair share of the evidence
OUTCOMES = {"TP": "fake, found", "TN": "real, left in peace", "FP": "real, wrongly accused", "FN": "fake, missed"}
RIGHT, WRONG = "#1a7f37", "#b3261e"
INK, QUIET = "black", "#595959"

PANEL, GAP, TOP, BOTTOM, RIGHT_SIDE = 270, 8, 104, 30, 58  # px


def overlaid(crop: np.ndarray, heat: np.ndarray, opacity: float) -> np.ndarray:
    """The crop under its heat; what is cold stays as it is."""
    share = (opacity * heat)[..., None]
    colours = 255 * COLOURS(heat)[..., :3]
    return np.rint((1 - share) * crop + share * colours).astype(np.uint8)


@cache
def font(size: int, weight: str = "normal") -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans", weight=weight)), size)


def write_figure(path: Path, figure: Image.Image) -> None:
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(encode_png(np.asarray(figure)))


class Panels:
    """Square pictures side by side, each under its title; a scale of heat at their right, and room for words above."""

    def __init__(self, titles: Sequence[str], opacity: float, warning: str | None) -> None:
        self.opacity = opacity
        width = GAP + len(titles) * (PANEL + GAP) + RIGHT_SIDE
        self.blank = Image.new("RGB", (width, TOP + PANEL + BOTTOM), "white")
        draw = ImageDraw.Draw(self.blank)
        for number, title in enumerate(titles):
            draw.text((self.left_of(number), TOP - 19), title, QUIET, font(12))
        if warning:
            draw.text((GAP, TOP + PANEL + 9), warning, QUIET, font(10))
        left = self.left_of(len(titles))
        colours = (255 * COLOURS(np.linspace(1, 0, PANEL))[:, None, :3]).round().astype(np.uint8)
        self.blank.paste(Image.fromarray(np.repeat(colours, 14, 1)), (left, TOP))
        for heat, words in SCALE.items():
            draw.text((left + 19, TOP + (1 - heat) * (PANEL - 1)), words, INK, font(10), anchor="lm")

    @staticmethod
    def left_of(number: int) -> int:
        return GAP + number * (PANEL + GAP)

    def draw(self, path: Path, sample: ExplainedSample, facts: str, pictures: Sequence[np.ndarray]) -> None:
        colour = RIGHT if sample.outcome[0] == "T" else WRONG
        write_figure(path, self.filled(f"{sample.outcome}: {OUTCOMES[sample.outcome]}", colour, facts, pictures))

    def filled(self, headline: str, colour: str, facts: str, pictures: Sequence[np.ndarray]) -> Image.Image:
        figure = self.blank.copy()
        draw = ImageDraw.Draw(figure)
        draw.text((GAP, 9), headline, colour, font(15, "bold"))
        draw.multiline_text((GAP, 38), facts, INK, font(12), spacing=4)
        for number, picture in enumerate(pictures):
            figure.paste(Image.fromarray(picture), (self.left_of(number), TOP))
        return figure

    def face(self, crop: np.ndarray) -> np.ndarray:
        """As large as a panel, whatever its own size; a crop that is no square keeps its shape."""
        share = PANEL / max(crop.shape[:2])
        height, width = (max(1, round(share * side)) for side in crop.shape[:2])
        panel = np.full((PANEL, PANEL, 3), 255, np.uint8)
        panel[:height, :width] = cv2.resize(crop, (width, height), interpolation=cv2.INTER_LANCZOS4)
        return panel

    def heated(self, crop: np.ndarray, heat: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """The same under its heat, with the outline of what was really changed."""
        panel = self.face(overlaid(crop, heat, self.opacity))
        if mask is not None and mask.any() and not mask.all():
            share = PANEL / max(mask.shape)
            large = cv2.resize(mask.astype(np.float32), None, fx=share, fy=share, interpolation=cv2.INTER_LINEAR)
            outline, _ = cv2.findContours((large > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(panel, outline, -1, TRUTH_COLOUR, 1, cv2.LINE_AA)
        return panel


class SampleFigure:
    """The crop, the evidence for its verdict, and that for the other one; or the one map that the method has."""

    def __init__(self, opacity: float, warning: str | None, method: MapMethod) -> None:
        def panels(verdict: str, other: str) -> Panels:
            evidence = f"evidence for '{verdict}'", f"evidence against it: for '{other}'"
            return Panels(("the face", *(evidence if method.is_class_specific else [method.words])), opacity, warning)

        self.panels = {True: panels(FAKE_VERDICT, REAL_VERDICT), False: panels(REAL_VERDICT, FAKE_VERDICT)}

    def draw(self, path: Path, sample: ExplainedSample, crop: np.ndarray, heat: Heat, mask: np.ndarray | None) -> None:
        panels = self.panels[sample.called_fake]
        verdict = sample.verdict + (", but uncertain" if sample.is_uncertain else "")
        facts = (
            f"{sample.where}   "
            f"truth: {'fake' if sample.video.label else 'real'}\n"
            f"judged {verdict}; fake probability: video {sample.video_probability:.3f}, "
            f"this frame {sample.frame_probability:.3f}"
        )
        against = [] if heat.spoke_against is None else [panels.heated(crop, heat.spoke_against, mask)]
        panels.draw(path, sample, facts, (panels.face(crop), panels.heated(crop, heat.spoke_for, mask), *against))


class ConceptsFigure:
    """The crop, and of each part that the network weighs by itself where it lies; its weight is in the title."""

    def __init__(self, opacity: float, warning: str | None) -> None:
        self.opacity, self.warning = opacity, warning

    def draw(
        self, path: Path, sample: ExplainedSample, crop: np.ndarray, parts: Sequence[tuple[str, float, np.ndarray]]
    ) -> None:
        titles = [f"{weight:.3f}  {shorten(name, 30, placeholder='…')}" for name, weight, _ in parts]
        panels = Panels(("the face", *titles), self.opacity, self.warning)
        facts = f"{sample.where}\nwhat was weighed apart, and where"
        heated = [panels.heated(crop, heat) for _, _, heat in parts]
        panels.draw(path, sample, facts, (panels.face(crop), *heated))


class PairFigure:
    """An original and its fake, each with its evidence for fake; or with the one map that the method has."""

    def __init__(self, opacity: float, warning: str | None, method: MapMethod) -> None:
        heat = f"its evidence for '{FAKE_VERDICT}'" if method.is_class_specific else method.words
        self.panels = Panels(("the original", heat, "the fake", heat), opacity, warning)

    def draw(
        self,
        path: Path,
        sample: ExplainedSample,
        faces: tuple[np.ndarray, np.ndarray],
        heats: tuple[np.ndarray, np.ndarray],
        mask: np.ndarray | None,
    ) -> None:
        """Face and heat of the original, and of the fake."""
        panels = self.panels
        facts = f"{sample.where}\nbeside the original's nearest frame"
        original = panels.face(faces[0]), panels.heated(faces[0], heats[0])
        fake = panels.face(faces[1]), panels.heated(faces[1], heats[1], mask)
        panels.draw(path, sample, facts, (*original, *fake))
