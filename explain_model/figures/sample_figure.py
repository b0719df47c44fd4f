"""Figures of a sample: the crop next to its heatmaps, headed by the verdict, the scores and the ground truth.

A fake whose original is in the corpus is also shown next to it.
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

from explain_deepfakes.explain_model.inputs.samples import ExplainedSample
from explain_deepfakes.explain_model.maps.heatmaps import Heatmaps
from explain_deepfakes.explain_model.maps.methods import MapMethod
from explain_deepfakes.model_test_train.metrics.aggregation import FAKE_VERDICT, REAL_VERDICT
from explain_deepfakes.pipeline.outputs import atomic_write
from explain_deepfakes.preprocessing.crops.png import encode_png

HEAT_COLOURS = matplotlib.colormaps["inferno"]  # perceptually uniform, for colour-blind readers too
TRUTH_COLOUR = (51, 230, 255)  # outline of the manipulated region; a blue that inferno does not contain
SCALE = {0: "0", 0.25: "1×", 0.5: "3×", 0.75: "9×", 1: "∞"}  # heat -> multiple of the fair share of the evidence
OUTCOMES = {"TP": "fake, called fake", "TN": "real, called real", "FP": "real, called fake", "FN": "fake, called real"}
CORRECT_COLOUR, WRONG_COLOUR = "#1a7f37", "#b3261e"
TEXT_COLOUR, MUTED_COLOUR = "black", "#595959"

PANEL, GAP, TOP, BOTTOM, RIGHT_MARGIN = 270, 8, 104, 30, 58  # px


def overlay_heat(crop: np.ndarray, heat: np.ndarray, opacity: float) -> np.ndarray:
    """Blend the heat's colours over the crop, in proportion to the heat; cold pixels stay unchanged."""
    alpha = (opacity * heat)[..., None]
    colours = 255 * HEAT_COLOURS(heat)[..., :3]
    return np.rint((1 - alpha) * crop + alpha * colours).astype(np.uint8)


@cache
def font(size: int, weight: str = "normal") -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans", weight=weight)), size)


def write_figure(path: Path, figure: Image.Image) -> None:
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(encode_png(np.asarray(figure)))


class Panels:
    """A row of square pictures with titles, a colour scale on the right, and space for a headline and facts above."""

    def __init__(self, titles: Sequence[str], opacity: float, warning: str | None) -> None:
        self.opacity = opacity
        width = GAP + len(titles) * (PANEL + GAP) + RIGHT_MARGIN
        self.blank = Image.new("RGB", (width, TOP + PANEL + BOTTOM), "white")
        draw = ImageDraw.Draw(self.blank)
        for number, title in enumerate(titles):
            draw.text((self.left_of(number), TOP - 19), title, MUTED_COLOUR, font(12))
        if warning:
            draw.text((GAP, TOP + PANEL + 9), warning, MUTED_COLOUR, font(10))
        left = self.left_of(len(titles))
        colours = (255 * HEAT_COLOURS(np.linspace(1, 0, PANEL))[:, None, :3]).round().astype(np.uint8)
        self.blank.paste(Image.fromarray(np.repeat(colours, 14, 1)), (left, TOP))
        for heat, label in SCALE.items():
            draw.text((left + 19, TOP + (1 - heat) * (PANEL - 1)), label, TEXT_COLOUR, font(10), anchor="lm")

    @staticmethod
    def left_of(number: int) -> int:
        return GAP + number * (PANEL + GAP)

    def draw(self, path: Path, sample: ExplainedSample, facts: str, pictures: Sequence[np.ndarray]) -> None:
        colour = CORRECT_COLOUR if sample.outcome[0] == "T" else WRONG_COLOUR
        write_figure(path, self.render(f"{sample.outcome}: {OUTCOMES[sample.outcome]}", colour, facts, pictures))

    def render(self, headline: str, colour: str, facts: str, pictures: Sequence[np.ndarray]) -> Image.Image:
        figure = self.blank.copy()
        draw = ImageDraw.Draw(figure)
        draw.text((GAP, 9), headline, colour, font(15, "bold"))
        draw.multiline_text((GAP, 38), facts, TEXT_COLOUR, font(12), spacing=4)
        for number, picture in enumerate(pictures):
            figure.paste(Image.fromarray(picture), (self.left_of(number), TOP))
        return figure

    def face(self, crop: np.ndarray) -> np.ndarray:
        """The crop resized to a panel; a crop that is not square keeps its aspect ratio."""
        scale = PANEL / max(crop.shape[:2])
        height, width = (max(1, round(scale * side)) for side in crop.shape[:2])
        panel = np.full((PANEL, PANEL, 3), 255, np.uint8)
        panel[:height, :width] = cv2.resize(crop, (width, height), interpolation=cv2.INTER_LANCZOS4)
        return panel

    def face_with_heat(self, crop: np.ndarray, heat: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """The same with its heat, and the outline of the manipulated region if it is known."""
        panel = self.face(overlay_heat(crop, heat, self.opacity))
        if mask is not None and mask.any() and not mask.all():
            scale = PANEL / max(mask.shape)
            large = cv2.resize(mask.astype(np.float32), None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
            outline, _ = cv2.findContours((large > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(panel, outline, -1, TRUTH_COLOUR, 1, cv2.LINE_AA)
        return panel


class SampleFigure:
    """The crop with the evidence for and against its verdict, or with the only map if the method is not class-specific."""

    def __init__(self, opacity: float, warning: str | None, method: MapMethod) -> None:
        def panels(verdict: str, opposite: str) -> Panels:
            evidence = f"evidence for '{verdict}'", f"evidence against it: for '{opposite}'"
            return Panels(("the face", *(evidence if method.is_class_specific else [method.description])), opacity, warning)

        self.panels = {True: panels(FAKE_VERDICT, REAL_VERDICT), False: panels(REAL_VERDICT, FAKE_VERDICT)}

    def draw(self, path: Path, sample: ExplainedSample, crop: np.ndarray, heatmaps: Heatmaps, mask: np.ndarray | None) -> None:
        panels = self.panels[sample.called_fake]
        verdict = sample.verdict + (", but uncertain" if sample.is_uncertain else "")
        facts = (
            f"{sample.description}   "
            f"truth: {'fake' if sample.video.label else 'real'}\n"
            f"verdict: {verdict}; fake probability: video {sample.video_probability:.3f}, "
            f"this frame {sample.frame_probability:.3f}"
        )
        maps = [heatmaps.evidence_for] + ([] if heatmaps.evidence_against is None else [heatmaps.evidence_against])
        panels.draw(path, sample, facts, (panels.face(crop), *(panels.face_with_heat(crop, heat, mask) for heat in maps)))


class ConceptsFigure:
    """The crop with the heat of each concept that the network weighs; titles contain weight and name."""

    def __init__(self, opacity: float, warning: str | None) -> None:
        self.opacity, self.warning = opacity, warning

    def draw(
        self, path: Path, sample: ExplainedSample, crop: np.ndarray, concepts: Sequence[tuple[str, float, np.ndarray]]
    ) -> None:
        titles = [f"{weight:.3f}  {shorten(name, 30, placeholder='…')}" for name, weight, _ in concepts]
        panels = Panels(("the face", *titles), self.opacity, self.warning)
        facts = f"{sample.description}\nconcepts that the network weighs, and where they lie"
        faces = [panels.face_with_heat(crop, heat) for _, _, heat in concepts]
        panels.draw(path, sample, facts, (panels.face(crop), *faces))


class PairFigure:
    """An original and its fake, each with its evidence for fake, or with the only map if the method is not class-specific."""

    def __init__(self, opacity: float, warning: str | None, method: MapMethod) -> None:
        title = f"its evidence for '{FAKE_VERDICT}'" if method.is_class_specific else method.description
        self.panels = Panels(("the original", title, "the fake", title), opacity, warning)

    def draw(
        self,
        path: Path,
        sample: ExplainedSample,
        faces: tuple[np.ndarray, np.ndarray],
        heats: tuple[np.ndarray, np.ndarray],
        mask: np.ndarray | None,
    ) -> None:
        """`faces` and `heats` are those of the original and of the fake."""
        panels = self.panels
        facts = f"{sample.description}\nnext to the nearest frame of the original"
        original = panels.face(faces[0]), panels.face_with_heat(faces[0], heats[0])
        fake = panels.face(faces[1]), panels.face_with_heat(faces[1], heats[1], mask)
        panels.draw(path, sample, facts, (*original, *fake))
