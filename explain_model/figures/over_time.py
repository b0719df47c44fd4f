"""Scores and heatmaps of people over time: annotated video, timeline and contact sheet."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from explain_deepfakes.explain_model.figures.people import Moment, People, Person, top_scoring_frames
from explain_deepfakes.explain_model.figures.sample_figure import overlay_heat
from explain_deepfakes.model_test_train.metrics.aggregation import FAKE_VERDICT, NO_VERDICT, REAL_VERDICT
from explain_deepfakes.model_test_train.metrics.drawing import plt, save_figure
from explain_deepfakes.model_test_train.networks.input_contract import Image, resize
from explain_deepfakes.preprocessing.crops.crops import Window
from explain_deepfakes.preprocessing.video.reencoding import DEFAULT_FRAME_RATE, PREVIEW_ENCODING, write_video
from explain_deepfakes.preprocessing.video.sampling import evenly_spaced
from explain_deepfakes.preprocessing.video.video import OpenVideo

BOX_COLOURS = {
    FAKE_VERDICT: (213, 94, 0),
    REAL_VERDICT: (0, 114, 178),
    NO_VERDICT: (89, 89, 89),
}  # for colour-blind readers too
PERSON_COLOURS = ("#0b6e75", "#9a5b13", "#5b4a9e", "#555555", "#b23a6f", "#3b7a2a", "#2f5bb7", "#8c6d00")
MAX_SHEET_FRAMES = 10  # per person
MIN_VIDEO_SIDE = 480  # px, of the annotated video's shorter side, so that its text is legible


def mean_heat(moments: Sequence[Moment], side: int) -> np.ndarray:
    """The mean heat of a person's frames (side, side)."""
    return np.mean([resize(moment.heat, side, side) for moment in moments], axis=0)


def draw_timeline(path: Path, people: People, rate: float | None, threshold: float, title: str, warning: str | None) -> None:
    """Each person's scores over time with the top-scoring frames circled, and the threshold."""
    figure, axes = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
    for track, person in people.items():
        moments = person.moments
        times = [moment.frame / (rate or 1) for moment in moments]
        colour = PERSON_COLOURS[track % len(PERSON_COLOURS)]
        name = f"person {track}: {person.label}"
        axes.plot(times, [moment.probability for moment in moments], color=colour, marker=".", label=name)
        top_scoring = top_scoring_frames(moments, person.called_fake)
        axes.scatter(
            [moment.frame / (rate or 1) for moment in top_scoring],
            [moment.probability for moment in top_scoring],
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
    caption = f"{title}; circles: top-scoring frames for each person's verdict" + (f"\n{warning}" if warning else "")
    axes.set_title(caption, fontsize=9, loc="left")
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(path, figure)


def draw_contact_sheet(path: Path, people: People, opacity: float, title: str, warning: str | None) -> None:
    """For each person, frames with their heat below and the top-scoring ones framed; last, the mean heat of all frames."""
    columns = min(MAX_SHEET_FRAMES, max(len(person.moments) for person in people.values())) + 1
    figure, rows = plt.subplots(
        2 * len(people), columns, figsize=(1.25 * columns, 2.75 * len(people) + 0.6), squeeze=False, layout="constrained"
    )
    for axes in rows.flat:
        axes.set_axis_off()
    for row, (track, person) in enumerate(people.items()):
        above, below, moments = rows[2 * row], rows[2 * row + 1], person.moments
        top_scoring = {moment.frame for moment in top_scoring_frames(moments, person.called_fake)}
        for column, number in enumerate(evenly_spaced(len(moments), columns - 1)):
            moment = moments[number]
            above[column].imshow(moment.crop)
            below[column].imshow(overlay_heat(moment.crop, moment.heat, opacity))
            above[column].set_title(
                f"{moment.frame}: {moment.probability:.2f}", fontsize=7, weight="bold" if moment.frame in top_scoring else None
            )
            if moment.frame in top_scoring:
                frame = plt.Rectangle(
                    (0, 0), 1, 1, transform=below[column].transAxes, fill=False, linewidth=3, edgecolor="#d55e00"
                )
                below[column].add_patch(frame)
        middle = moments[len(moments) // 2].crop
        heat = resize(mean_heat(moments, max(middle.shape[:2])), *middle.shape[:2])
        below[-1].imshow(overlay_heat(middle, heat, opacity))
        text = f"person {track}:\n{person.label}\n\nall frames"
        above[-1].text(0.5, 0.06, text, fontsize=8, ha="center", transform=above[-1].transAxes)
    figure.suptitle(title + (f"\n{warning}" if warning else ""), fontsize=9, x=0.01, ha="left")
    save_figure(path, figure)


def write_annotated(path: Path, video: OpenVideo, people: People, opacity: float, warning: str | None) -> None:
    """Box, verdict, score and heat of each person. Between scored frames, boxes are interpolated; scores and heat are held."""
    facts = video.facts
    scale = max(1, -(-MIN_VIDEO_SIDE // min(facts.width, facts.height)))
    width, height = (2 * round(side * scale / 2) for side in (facts.width, facts.height))
    pictures = (
        cv2.putText(picture, warning or "", (8, height - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
        for picture in _annotated_pictures(video, people, opacity, (width, height))
    )
    write_video(path, pictures, width, height, facts.frame_rate or DEFAULT_FRAME_RATE, PREVIEW_ENCODING)


def _annotated_pictures(video: OpenVideo, people: People, opacity: float, size: tuple[int, int]) -> Iterator[Image]:
    for index, picture in video.frames():
        shown = [
            (person, *interpolated) for person in people.values() if (interpolated := interpolate_moment(person.moments, index))
        ]
        picture = picture.copy()
        for _, moment, window in shown:
            blend_heat(picture, moment.heat, window, opacity)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
        for person, moment, window in shown:
            _draw_box(picture, window, size[0] / video.facts.width, person, moment.probability)
        yield picture


def interpolate_moment(moments: Sequence[Moment], index: int) -> tuple[Moment, Window] | None:
    """The nearest moment and the person's interpolated window in the frame; None before the first and after the last moment."""
    after = bisect_left([moment.frame for moment in moments], index)
    if after == len(moments) or (after == 0 and moments[0].frame != index):
        return None
    if moments[after].frame == index:
        return moments[after], moments[after].window
    previous, following = moments[after - 1], moments[after]
    share = (index - previous.frame) / (following.frame - previous.frame)
    nearest = previous if share < 0.5 else following
    return nearest, interpolate_window(previous.window, following.window, share)


def interpolate_window(first: Window, second: Window, share: float) -> Window:
    """A window between two of the same person; `share` is 0 at the first and 1 at the second."""
    x0, y0, x1, y1, angle = ((1 - share) * a + share * b for a, b in zip(first[:5], second[:5], strict=True))
    if first.side:
        return Window(x0, y0, x1, y1, angle, first.side)
    return Window(round(x0), round(y0), round(x1), round(y1))


def blend_heat(picture: Image, heat: np.ndarray, window: Window, opacity: float) -> None:
    """Draw the heat into the picture, in place, where the window overlaps it."""
    if window.side:
        _blend_rotated(picture, heat, window, opacity)
        return
    x0, y0, x1, y1 = map(round, window[:4])
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, picture.shape[1]), min(y1, picture.shape[0])
    if left < right and top < bottom:
        visible = resize(heat, y1 - y0, x1 - x0).clip(0, 1)[top - y0 : bottom - y0, left - x0 : right - x0]
        picture[top:bottom, left:right] = overlay_heat(picture[top:bottom, left:right], visible, opacity)


def _blend_rotated(picture: Image, heat: np.ndarray, window: Window, opacity: float) -> None:
    crop = resize(heat, window.side, window.side).clip(0, 1).astype(np.float32)
    size = picture.shape[1], picture.shape[0]
    inverse = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    visible, inside = (cv2.warpAffine(values, window.to_crop(), size, flags=inverse) for values in (crop, np.ones_like(crop)))
    picture[inside > 0.5] = overlay_heat(picture, visible, opacity)[inside > 0.5]


def _draw_box(picture: Image, window: Window, scale: float, person: Person, probability: float) -> None:
    colour = BOX_COLOURS[person.verdict]
    corners = window.corners() * scale
    cv2.polylines(picture, [corners.round().astype(np.int32)], True, colour, 2)
    x0, y0 = (round(value) for value in corners.min(0).tolist())
    text = f"{person.label}; this frame {probability:.2f}"
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 2)
    left, bottom = max(0, min(x0, picture.shape[1] - text_width - 8)), max(text_height + 8, y0)
    cv2.rectangle(picture, (left, bottom - text_height - 8), (left + text_width + 8, bottom), colour, -1)
    cv2.putText(picture, text, (left + 4, bottom - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2, cv2.LINE_AA)
