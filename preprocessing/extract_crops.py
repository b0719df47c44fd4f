"""Stage extract_crops: videos and the boxes of their faces -> a picture of each face, and the truth about it.

Reads the videos of the index, or of the folder at `--data_path`, and the boxes that detect_faces wrote. Writes
<split>/<Method>/<stem>/<frame>_<track>.png for each face, the stage's ledger and failures.csv to data/crops; and where a
video's mask is known, <Method>/<stem>/<frame>_<track>.png to the folder masks beside: which of the crop's pixels were
manipulated. An `--output_path` that ends in training_set, validation_set or test_set gets the videos of that split alone.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.errors import UserError, run
from pipeline.index import SPLITS, Video
from pipeline.ledger import key_of
from pipeline.outputs import aside, remove_empty_folders, sweep
from pipeline.params import PathFlag, read_command_line
from pipeline.project import from_root
from preprocessing.boxes import BadBoxes, read_boxes
from preprocessing.extraction import Params, chosen_faces, write_crops, write_masks
from preprocessing.source import FLAGS, videos_of
from preprocessing.upkeep import Job, Outcome, failure, keep_up
from preprocessing.video import UnreadableVideo

DETECT_AGAIN = "run detect_faces, and see its failures.csv"


@dataclass(frozen=True)
class Places:
    boxes: Path
    crops: Path
    with_split: bool  # whether a video's folder lies below its split's

    def boxes_of(self, video: Video) -> Path:
        return self.boxes / f"{video.video}.json"

    @property
    def masks(self) -> Path:
        return self.crops.parent / "masks"

    def crops_of(self, video: Video) -> str:
        return f"{video.split}/{video.video}" if self.with_split else video.video


def extract_video(job: Job, places: Places, params: Params) -> Outcome:
    video, boxes_path = job.video, places.boxes_of(job.video)
    if not boxes_path.is_file():
        return failure(job, "it has no boxes", DETECT_AGAIN)
    try:
        faces = chosen_faces(read_boxes(boxes_path).frames, params)
        if not faces:
            reason = f"no face of at least {params.min_size} px in its boxes"
            return failure(job, reason, f"{DETECT_AGAIN}, or lower extract_crops.min_size")
        with aside(places.crops / places.crops_of(video)) as folder:
            folder.mkdir()
            crops = write_crops(from_root(video.path), faces, folder, params)
            if not crops:
                raise UnreadableVideo("none of the frames that have boxes decodes", DETECT_AGAIN)
    except BadBoxes as error:
        return failure(job, str(error), f"delete that file, and {DETECT_AGAIN}")
    except UnreadableVideo as error:
        return failure(job, error.reason, error.remedy)
    return with_truth(job, places, params, crops)


def with_truth(job: Job, places: Places, params: Params, crops: list[list[Any]]) -> Outcome:
    """The crops are on disk: their masks too, where the video has any."""
    outputs, facts = (places.crops_of(job.video),), {"crops": crops}
    if not job.video.mask:
        return Outcome(job, outputs, facts)
    try:
        with aside(places.masks / job.video.video) as folder:
            folder.mkdir()
            write_masks(from_root(job.video.mask), crops, folder, params)
    except UnreadableVideo as error:
        missing = {"reason": f"its mask {job.video.mask}: {error.reason}", "remedy": error.remedy}
        return Outcome(job, outputs, facts | missing)
    return Outcome(job, (*outputs, f"../{places.masks.name}/{job.video.video}"), facts)


def jobs_of(videos: Sequence[Video], places: Places, params: Params) -> Iterator[Job]:
    for video in videos:
        boxes = places.boxes_of(video)
        seen = hashlib.sha256(boxes.read_bytes()).hexdigest() if boxes.is_file() else None
        yield Job(video, key_of(video.content, video.split, video.mask, seen, params.that_matter()))


def main() -> None:
    where = "the boxes of the faces (default: data/boxes, or boxes below --data_path)"
    params, given = read_command_line(
        __doc__,
        "extract_crops",
        Params,
        **FLAGS,
        boxes_path=PathFlag(None, where),
        output_path=PathFlag("data/crops", "where the crops go"),
    )
    below = given.data_path / "boxes" if given.data_path else from_root("data/boxes")
    of_one_split = given.output_path.name in SPLITS
    places = Places(given.boxes_path or below, given.output_path, not of_one_split)
    if not places.boxes.is_dir():
        raise UserError(f"there are no boxes at {places.boxes}; preprocessing/detect_faces.py makes them")
    videos = [video for video in videos_of(given) if not of_one_split or video.split == given.output_path.name]
    work = partial(extract_video, places=places, params=params)
    jobs = list(jobs_of(videos, places, params))
    sweep(places.masks)
    keep_up(places.crops, jobs, work, "extract_crops", params.workers, params.max_failed_fraction)
    remove_empty_folders(places.masks)


if __name__ == "__main__":
    run(main)
