"""Stage explain_videos: some tested videos -> each annotated, with a timeline of its scores and a contact sheet of its faces.

Reads results/tests, the crops and the videos; writes results/explained_videos.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from explain_model.figures.over_time import Moment, People, Person, draw_sheet, draw_timeline, pooled, write_annotated
from explain_model.inputs.samples import read_table
from explain_model.inputs.test_results import TESTED, Running, open_network, rule_tested
from explain_model.maps.heatmaps import Row, explained
from explain_model.maps.methods import METHODS, method_for
from model_test_train.metrics.verdicts import NO_VERDICT, FrameScore, Rule, person_scores
from model_test_train.networks.checkpoint import Checkpoint
from model_test_train.networks.network import Network
from pipeline.errors import UserError, run
from pipeline.index import Video, read_index
from pipeline.outputs import atomic_write, write_csv
from pipeline.params import PathFlag, Section, TextFlag, read_command_line, setting
from pipeline.progress import track
from pipeline.project import from_root, relative
from preprocessing.corpus.folders import claim, index_for
from preprocessing.crops.crops import Crop, read_crops
from preprocessing.video.video import Reading, UnreadableVideo, open_video

COLUMNS = ("video", "frame", "track", "fake_probability", "person_verdict", "person_uncertain")


@dataclass(frozen=True)
class Params(Running):
    method: str = setting("how maps are made", choices=tuple(METHODS))
    videos_per_method: int = setting("of each manipulation, and originals; where --videos names none", low=1)
    opacity: float = setting("of the heatmap over the face, where it is strongest", low=0, high=1)


def people_of(network: Network, crops: Sequence[Crop], scores: dict[str, float], rule: Rule, params: Params) -> People:
    """The people of a video in the frames that were judged, each with a verdict of its own and the heat for that."""
    judged = [crop for crop in crops if relative(crop.path) in scores]
    frames = [FrameScore(crop.video, crop.frame, crop.track, "", scores[relative(crop.path)]) for crop in judged]
    people = {
        number: Person(rule.verdict(raw), rule.is_uncertain(raw), [])
        for number, raw in person_scores(frames, rule.aggregation).items()
    }
    failures: list[Row] = []
    asked = [(crop, people[crop.track].called_fake) for crop in judged]
    for crop, face in zip(judged, explained(network, asked, params.method, params.batch_size, failures), strict=True):
        if face is None:
            raise UserError(failures[0]["reason"])
        picture, heat = face
        moment = Moment(crop.frame, crop.window, picture, heat.spoke_for, scores[relative(crop.path)])
        people[crop.track].moments.append(moment)
    return people


def explain_video(
    network: Network,
    checkpoint: Checkpoint,
    video: Video,
    verdict: str,
    people: People,
    output: Path,
    reading: Reading,
    params: Params,
) -> None:
    """One folder a video: annotated.mp4, timeline.png, contact_sheet.png, frames.csv and each person's heat over all frames."""
    title = f"{video.video}: judged {verdict}, is {'fake' if video.label else 'real'}"
    for number, person in people.items():
        with atomic_write(output / f"heat_person_{number}.npy") as unfinished, unfinished.open("wb") as file:
            np.save(file, pooled(person.moments, network.input.size))
    rows = [
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
    draw_sheet(output / "contact_sheet.png", people, params.opacity, title, checkpoint.warning)


def chosen_videos(verdicts: Sequence[dict[str, str]], named: str | None, per_method: int) -> list[dict[str, str]]:
    """Those named, or the first of each method that got a verdict."""
    known = {row["video"]: row for row in verdicts if row["verdict"] != NO_VERDICT}
    if named:
        if missing := [name for name in named.split(",") if name not in known]:
            raise UserError(
                f"--videos: {missing[0]} was not tested, or has no verdict; names are like {next(iter(known), 'none')}"
            )
        return [known[name] for name in named.split(",")]
    methods = sorted({row["method"] for row in known.values()})
    return [row for method in methods for row in [r for r in known.values() if r["method"] == method][:per_method]]


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "explain_videos",
        Params,
        videos=TextFlag("which of the tested videos, Method/stem, with commas"),
        **TESTED,
        output_path=PathFlag("results/explained_videos", "where a folder for each video goes"),
        reading=Section("read_video", Reading),
    )
    network, checkpoint = open_network(paths.model_path, params)
    method_for(network, params.method)
    rule = rule_tested(checkpoint, paths.tests)
    index = index_for(paths.crops, paths.index)
    by_name = {video.video: video for video in read_index(index)}
    claim(paths.output_path, index, paths.replace)
    scores = {row["path"]: float(row["fake_probability"]) for row in read_table(paths.tests / "frames.csv")}
    chosen = chosen_videos(read_table(paths.tests / "videos.csv"), paths.videos, params.videos_per_method)
    wanted = {row["video"] for row in chosen}
    crops = [crop for crop in read_crops(paths.crops) if crop.video in wanted]
    for row in track(chosen, len(chosen), "explaining", "videos"):
        people = people_of(network, [crop for crop in crops if crop.video == row["video"]], scores, rule, params)
        try:
            video = by_name[row["video"]]
            verdict = row["verdict"] + (" (uncertain)" if row["uncertain"] == "True" else "")
            explain_video(network, checkpoint, video, verdict, people, paths.output_path / video.video, paths.reading, params)
        except UnreadableVideo as error:
            raise UserError(f"{row['video']}: {error}") from error
    print(f"{len(chosen)} videos explained in {paths.output_path}")
    if checkpoint.warning:
        print(checkpoint.warning)


if __name__ == "__main__":
    run(main)
