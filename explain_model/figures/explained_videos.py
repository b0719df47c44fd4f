"""Stage explain_videos: annotated copies of videos, with timelines and contact sheets."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from explain_deepfakes.explain_model.figures.over_time import draw_contact_sheet, draw_timeline, mean_heat, write_annotated
from explain_deepfakes.explain_model.figures.params import ExplainVideosParams
from explain_deepfakes.explain_model.figures.people import Moment, People, Person
from explain_deepfakes.explain_model.inputs.samples import read_table
from explain_deepfakes.explain_model.inputs.test_results import load_tested_network, read_verdict_rule
from explain_deepfakes.explain_model.maps.heatmaps import FailureRow, explain_crops
from explain_deepfakes.explain_model.maps.methods import get_map_method
from explain_deepfakes.model_test_train.metrics.aggregation import NO_VERDICT, FrameScore, VerdictRule, person_scores
from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import Video, read_index
from explain_deepfakes.pipeline.outputs import atomic_write, write_csv
from explain_deepfakes.pipeline.progress import track
from explain_deepfakes.pipeline.project import from_root, relative
from explain_deepfakes.preprocessing.corpus.folders import claim, index_for
from explain_deepfakes.preprocessing.crops.crops import Crop, read_crops
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.video import UnreadableVideo, open_video

COLUMNS = ("video", "frame", "track", "fake_probability", "person_verdict", "person_uncertain")


class FrameRow(TypedDict):
    """A row of frames.csv."""

    video: str
    frame: int
    track: int
    fake_probability: float
    person_verdict: str
    person_uncertain: bool


def explain_people(
    network: Network, crops: Sequence[Crop], scores: dict[str, float], rule: VerdictRule, params: ExplainVideosParams
) -> People:
    """The people of a video in the scored frames, each with a verdict of their own and the heat for that verdict."""
    scored = [crop for crop in crops if relative(crop.path) in scores]
    frames = [FrameScore(crop.video, crop.frame, crop.track, "", scores[relative(crop.path)]) for crop in scored]
    people = {
        number: Person(rule.verdict(raw), rule.is_uncertain(raw), [])
        for number, raw in person_scores(frames, rule.aggregation).items()
    }
    failures: list[FailureRow] = []
    labelled = [(crop, people[crop.track].called_fake) for crop in scored]
    for crop, face in zip(scored, explain_crops(network, labelled, params.method, params.batch_size, failures), strict=True):
        if face is None:
            raise UserError(failures[0]["reason"])
        picture, heatmaps = face
        moment = Moment(crop.frame, crop.window, picture, heatmaps.evidence_for, scores[relative(crop.path)])
        people[crop.track].moments.append(moment)
    return people


def explain_video(
    network: Network,
    checkpoint: Checkpoint,
    video: Video,
    verdict: str,
    people: People,
    output: Path,
    reading: ReadingParams,
    params: ExplainVideosParams,
) -> None:
    """Write annotated.mp4, timeline.png, contact_sheet.png, frames.csv and each person's mean heat to the output folder."""
    title = f"{video.video}: verdict {verdict}, truth {'fake' if video.label else 'real'}"
    for number, person in people.items():
        with atomic_write(output / f"heat_person_{number}.npy") as unfinished, unfinished.open("wb") as file:
            np.save(file, mean_heat(person.moments, network.input.size))
    rows: list[FrameRow] = [
        {
            "video": video.video,
            "frame": moment.frame,
            "track": number,
            "fake_probability": moment.probability,
            "person_verdict": person.verdict,
            "person_uncertain": person.is_uncertain,
        }
        for number, person in people.items()
        for moment in person.moments
    ]
    write_csv(output / "frames.csv", COLUMNS, rows)
    with open_video(from_root(video.path), reading) as opened:
        rate = opened.facts.frame_rate
        write_annotated(output / "annotated.mp4", opened, people, params.opacity, checkpoint.warning)
    draw_timeline(output / "timeline.png", people, rate, checkpoint.threshold, title, checkpoint.warning)
    draw_contact_sheet(output / "contact_sheet.png", people, params.opacity, title, checkpoint.warning)


def select_videos(verdicts: Sequence[dict[str, str]], names: str | None, per_method: int) -> list[dict[str, str]]:
    """The rows of the named videos, separated by commas; by default the first videos of each method that have a verdict."""
    known = {row["video"]: row for row in verdicts if row["verdict"] != NO_VERDICT}
    if names:
        if missing := [name for name in names.split(",") if name not in known]:
            example = f"; use names such as {next(iter(known))}" if known else ""
            raise UserError(f"--videos: {missing[0]} was not tested or has no verdict{example}")
        return [known[name] for name in names.split(",")]
    methods = sorted({row["method"] for row in known.values()})
    return [row for method in methods for row in [r for r in known.values() if r["method"] == method][:per_method]]


def explain_videos(params: ExplainVideosParams, paths: Namespace) -> None:
    network, checkpoint = load_tested_network(paths.model_path, params)
    get_map_method(network, params.method)
    rule = read_verdict_rule(checkpoint, paths.tests)
    index = index_for(paths.crops, paths.index)
    by_name = {video.video: video for video in read_index(index)}
    claim(paths.output_path, index, paths.replace)
    scores = {row["path"]: float(row["fake_probability"]) for row in read_table(paths.tests / "frames.csv")}
    selected = select_videos(read_table(paths.tests / "videos.csv"), paths.videos, params.videos_per_method)
    names = {row["video"] for row in selected}
    crops = [crop for crop in read_crops(paths.crops) if crop.video in names]
    for row in track(selected, len(selected), "explaining", "videos"):
        people = explain_people(network, [crop for crop in crops if crop.video == row["video"]], scores, rule, params)
        try:
            video = by_name[row["video"]]
            verdict = row["verdict"] + (" (uncertain)" if row["uncertain"] == "True" else "")
            explain_video(network, checkpoint, video, verdict, people, paths.output_path / video.video, paths.reading, params)
        except UnreadableVideo as error:
            raise UserError(f"{row['video']}: {error}") from error
    print(f"{len(selected)} videos explained in {paths.output_path}")
    if checkpoint.warning:
        print(checkpoint.warning)
