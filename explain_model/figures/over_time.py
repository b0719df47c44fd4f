"""People over time: scores and heatmaps of the frames looked at -> the annotated video, a timeline, a contact sheet."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np

from explain_model.figures.sample_figure import overlaid
from model_test_train.metrics.drawing import plt, save_figure
from model_test_train.metrics.verdicts import FAKE_VERDICT, NO_VERDICT, REAL_VERDICT
from model_test_train.networks.input_contract import Image, resized
from preprocessing.crops.crops import Window
from preprocessing.video.reencoding import SHOWN, USUAL_RATE, write_video
from preprocessing.video.sampling import evenly_spaced
from preprocessing.video.video import OpenVideo

BOX_COLOURS = {FAKE_VERDICT: (213, 94, 0), REAL_VERDICT: (0, 114, 178), NO_VERDICT: (89, 89, 89)}  # safe for the colour-blind
PERSON_COLOURS = ("#0b6e75", "#9a5b13", "#5b4a9e", "#555555", "#b23a6f", "#3b7a2a", "#2f5bb7", "#8c6d00")
ON_SHEET = 10  # frames of a person
DECIDING = 3  # frames marked
LEAST_SIDE = 480  # of the annotated video's shorter side: letters are to be read


@dataclass(frozen=True)
class Moment:
    """A person in a frame that was looked at."""

    frame: int
    window: Window  # of the frame's pixels
    crop: Image
    heat: np.ndarray  # over the crop, for the person's verdict
    probability: float  # of fake, in this frame


@dataclass(frozen=True)
class Person:
    """A person over time. The heat of all moments is for the verdict on this person, so that is the label to show with it."""

    verdict: str
    is_uncertain: bool
    moments: list[Moment]  # in time

    @property
    def called_fake(self) -> bool:
        return self.verdict == FAKE_VERDICT

    @property
    def label(self) -> str:
        """The verdict as it is shown."""
        return f"{self.verdict} (uncertain)" if self.is_uncertain else self.verdict


People = dict[int, Person]  # by track


class Scored(Protocol):
    @property
    def probability(self) -> float: ...


Face = TypeVar("Face", bound=Scored)


def deciding(moments: Sequence[Face], called_fake: bool) -> list[Face]:
    """The frames whose scores are furthest on the side of the person's verdict."""
    return sorted(moments, key=lambda moment: -moment.probability if called_fake else moment.probability)[:DECIDING]


def pooled(moments: Sequence[Moment], side: int) -> np.ndarray:
    """The mean heat over a person's frames, (side, side)."""
    return np.mean([resized(moment.heat, side, side) for moment in moments], axis=0)


def draw_timeline(path: Path, people: People, rate: float | None, threshold: float, title: str, warning: str | None) -> None:
    """Each person's scores over time, the frames that decided, and where fake begins."""
    figure, axes = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
    for track, person in people.items():
        moments = person.moments
        times = [moment.frame / (rate or 1) for moment in moments]
        colour = PERSON_COLOURS[track % len(PERSON_COLOURS)]
        name = f"person {track}: {person.label}"
        axes.plot(times, [moment.probability for moment in moments], color=colour, marker=".", label=name)
        decided = deciding(moments, person.called_fake)
        axes.scatter(
            [m.frame / (rate or 1) for m in decided],
            [m.probability for m in decided],
            s=70,
            facecolors="none",
            edgecolors=colour,
        )
    axes.axhline(threshold, color="0.5", linestyle=":", linewidth=1)
    axes.annotate(
        "called fake above",
        (1, threshold),
        xycoords=("axes fraction", "data"),
        fontsize=7,
        ha="right",
        va="bottom",
        color="0.4",
    )
    axes.set(ylim=(-0.03, 1.03), xlabel="seconds" if rate else "frame", ylabel="fake probability")
    caption = f"{title}; circles: top frames for each person's verdict" + (f"\n{warning}" if warning else "")
    axes.set_title(caption, fontsize=9, loc="left")
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(path, figure)


def draw_sheet(path: Path, people: People, opacity: float, title: str, warning: str | None) -> None:
    """For each person, frames in time and below them their heat, those that decided framed; last, the heat over all frames."""
    columns = min(ON_SHEET, max(len(person.moments) for person in people.values())) + 1
    figure, rows = plt.subplots(
        2 * len(people), columns, figsize=(1.25 * columns, 2.75 * len(people) + 0.6), squeeze=False, layout="constrained"
    )
    for axes in rows.flat:
        axes.set_axis_off()
    for row, (track, person) in enumerate(people.items()):
        above, below, moments = rows[2 * row], rows[2 * row + 1], person.moments
        decided = {moment.frame for moment in deciding(moments, person.called_fake)}
        for place, number in enumerate(evenly_spaced(len(moments), columns - 1)):
            moment = moments[number]
            above[place].imshow(moment.crop)
            below[place].imshow(overlaid(moment.crop, moment.heat, opacity))
            above[place].set_title(
                f"{moment.frame}: {moment.probability:.2f}", fontsize=7, weight="bold" if moment.frame in decided else None
            )
            if moment.frame in decided:
                frame = plt.Rectangle(
                    (0, 0), 1, 1, transform=below[place].transAxes, fill=False, linewidth=3, edgecolor="#d55e00"
                )
                below[place].add_patch(frame)
        middle = moments[len(moments) // 2].crop
        whole = resized(pooled(moments, max(middle.shape[:2])), *middle.shape[:2])
        below[-1].imshow(overlaid(middle, whole, opacity))
        words = f"person {track}:\n{person.label}\n\nall frames"
        above[-1].text(0.5, 0.06, words, fontsize=8, ha="center", transform=above[-1].transAxes)
    figure.suptitle(title + (f"\n{warning}" if warning else ""), fontsize=9, x=0.01, ha="left")
    save_figure(path, figure)


def write_annotated(path: Path, video: OpenVideo, people: People, opacity: float, warning: str | None) -> None:
    """Each person's box, verdict, score and heat; between the frames looked at boxes move evenly, scores and heat stay."""
    facts = video.facts
    times = max(1, -(-LEAST_SIDE // min(facts.width, facts.height)))
    width, height = (2 * round(side * times / 2) for side in (facts.width, facts.height))
    pictures = (
        cv2.putText(picture, warning or "", (8, height - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
        for picture in _annotated(video, people, opacity, (width, height))
    )
    write_video(path, pictures, width, height, facts.frame_rate or USUAL_RATE, SHOWN)


def _annotated(video: OpenVideo, people: People, opacity: float, size: tuple[int, int]) -> Iterator[Image]:
    for index, picture in video.frames():
        shown = [(person, *found) for person in people.values() if (found := at(person.moments, index))]
        picture = picture.copy()
        for _, moment, window in shown:
            lay_heat(picture, moment.heat, window, opacity)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
        for person, moment, window in shown:
            _draw_box(picture, window, size[0] / video.facts.width, person, moment.probability)
        yield picture


def at(moments: Sequence[Moment], index: int) -> tuple[Moment, Window] | None:
    """The nearest moment, and where the person is in that frame; None before the first and after the last."""
    after = bisect_left([moment.frame for moment in moments], index)
    if after == len(moments) or (after == 0 and moments[0].frame != index):
        return None
    if moments[after].frame == index:
        return moments[after], moments[after].window
    one, other = moments[after - 1], moments[after]
    share = (index - one.frame) / (other.frame - one.frame)
    x0, y0, x1, y1 = (round((1 - share) * a + share * b) for a, b in zip(one.window, other.window, strict=True))
    return one if share < 0.5 else other, (x0, y0, x1, y1)


def lay_heat(picture: Image, heat: np.ndarray, window: Window, opacity: float) -> None:
    """Over what of the window lies in the picture."""
    x0, y0, x1, y1 = window
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, picture.shape[1]), min(y1, picture.shape[0])
    if left < right and top < bottom:
        over = resized(heat, y1 - y0, x1 - x0).clip(0, 1)[top - y0 : bottom - y0, left - x0 : right - x0]
        picture[top:bottom, left:right] = overlaid(picture[top:bottom, left:right], over, opacity)


def _draw_box(picture: Image, window: Window, times: float, person: Person, probability: float) -> None:
    colour = BOX_COLOURS[person.verdict]
    x0, y0, x1, y1 = (round(times * side) for side in window)
    cv2.rectangle(picture, (x0, y0), (x1, y1), colour, 2)
    text = f"{person.label}; this frame {probability:.2f}"
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 2)
    left, bottom = max(0, min(x0, picture.shape[1] - wide - 8)), max(high + 8, y0)
    cv2.rectangle(picture, (left, bottom - high - 8), (left + wide + 8, bottom), colour, -1)
    cv2.putText(picture, text, (left + 4, bottom - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2, cv2.LINE_AA)
