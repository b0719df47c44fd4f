"""Stage extract_crops: videos and the boxes of their faces -> a picture of each face, and the truth about it.

Reads the videos of the index, or of the folder at `--data_path`, and the boxes that detect_faces, or the published
script, wrote. Writes <split>/<Method>/<stem>/<frame>_<track>.png for each face, the stage's ledger and failures.csv to
data/crops, or to crops/ below `--data_path`. Where a video's mask is known, <Method>/<stem>/<frame>_<track>.png in the
folder masks beside says which of the crop's pixels were manipulated. With `--store archives`, <stem>.zip with the same
files in it is in each folder's place. An `--output_path` that ends in training_set, validation_set or test_set gets the
videos of that split alone.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.buckets import within
from pipeline.errors import UserError, run
from pipeline.incremental import SCOPE_FLAGS, Chosen, Job, Outcome, Part, failure, scope_of, update_outputs
from pipeline.index import ORIGINAL, SPLITS, Video
from pipeline.ledger import content_hash, key_of
from pipeline.params import PlaceFlag, Section, read_command_line
from pipeline.project import from_root, relative
from preprocessing.corpus.folders import CorpusFolders
from preprocessing.corpus.source import FLAGS, videos_of
from preprocessing.crops.extraction import Params, chosen_faces, write_crops, write_masks
from preprocessing.crops.stores import fill, in_store
from preprocessing.faces.boxes import BadBoxes, read_boxes
from preprocessing.video.video import OpenVideo, Reading, UnreadableVideo, open_video

DETECT_AGAIN = "run detect_faces, and see its failures.csv"
PUBLISHED_ORIGINALS = ("youtube", "actors")  # folders that the published script files the boxes of originals in


@dataclass(frozen=True)
class Places:
    boxes: Path
    crops: Path
    with_split: bool  # whether a video's crops lie below its split's folder
    store: str

    def boxes_of(self, video: Video) -> Path:
        """Where ours lie; else, if they are there, those of the published script, which files some corpora without a method."""
        ours, published = self.boxes / f"{video.video}.json", f"{Path(video.path).stem}.json"
        folders = PUBLISHED_ORIGINALS if video.method == ORIGINAL else ()
        places = (ours, *(self.boxes / folder / published for folder in folders), self.boxes / published)
        return next((place for place in places if place.is_file()), ours)

    @property
    def masks(self) -> Path:
        return self.crops.parent / "masks"

    def outputs_of(self, video: Video) -> tuple[str, ...]:
        """That of the crops and, where the video has a mask, that of their masks; relative to the crops' folder."""
        crops = f"{video.split}/{video.video}" if self.with_split else video.video
        names = (crops, f"../{self.masks.name}/{video.video}") if video.mask else (crops,)
        return tuple(in_store(name, self.store) for name in names)


def extract_video(job: Job, places: Places, params: Params, reading: Reading, opened: OpenVideo | None = None) -> Outcome:
    """`opened` is the job's video, if it is open already."""
    boxes_path = places.boxes_of(job.video)
    if not boxes_path.is_file():
        return failure(job, "it has no boxes", DETECT_AGAIN)
    try:
        faces = chosen_faces(read_boxes(boxes_path).frames, params)
        if not faces:
            reason = f"no face of at least {params.min_size} px in its boxes"
            return failure(job, reason, f"{DETECT_AGAIN}, or lower extract_crops.min_size")
        with (
            nullcontext(opened) if opened else open_video(from_root(job.video.path), reading) as video,
            fill(places.crops / job.outputs[0], places.store) as put,
        ):
            crops = write_crops(video, faces, put, params)
            if not crops:
                raise UnreadableVideo("none of the frames that have boxes decodes", DETECT_AGAIN)
    except BadBoxes as error:
        return failure(job, str(error), f"delete {relative(boxes_path)}, and {DETECT_AGAIN}")
    except UnreadableVideo as error:
        return failure(job, error.reason, error.remedy)
    undecoded = sorted(set(faces) - {frame for _, frame, *_ in crops})
    facts = {"crops": crops, "undecoded": undecoded} if undecoded else {"crops": crops}
    return with_truth(job, places, reading, facts)


def with_truth(job: Job, places: Places, reading: Reading, facts: dict[str, Any]) -> Outcome:
    """The crops are on disk: their masks too, where the video has any."""
    if not job.video.mask:
        return Outcome(job, job.outputs, facts)
    try:
        with fill(within(places.crops, job.outputs[1]), places.store) as put:
            write_masks(from_root(job.video.mask), facts["crops"], put, reading)
    except UnreadableVideo as error:
        missing = {"reason": f"its mask {job.video.mask}: {error.reason}", "remedy": error.remedy}
        return Outcome(job, job.outputs[:1], facts | missing)
    return Outcome(job, job.outputs, facts)


def refuse_ambiguous_boxes(videos: Iterable[Video], places: Places) -> None:
    """Boxes without a method, of a stem that two videos have."""
    claimed: dict[Path, Video] = {}
    for video in videos if any(places.boxes.glob("*.json")) else ():
        boxes = places.boxes_of(video)
        other = claimed.setdefault(boxes, video)
        if other != video:
            raise UserError(
                f"{boxes} may be the boxes of {other.video} or of {video.video}; move it into the folder of its method"
            )


def job_of(video: Video, places: Places, params: Params, reading: Reading) -> Job:
    boxes = _hash_if_readable(places.boxes_of(video))
    key = key_of(video.content, video.split, video.mask, boxes, params.that_matter(), reading.that_matter())
    return Job(video, key, places.outputs_of(video))


def _hash_if_readable(boxes: Path) -> str | None:
    """Why it is not is said when the video's turn comes."""
    try:
        return content_hash(boxes)
    except OSError:
        return None


def main() -> None:
    where = "the boxes of the faces (default: data/boxes, or boxes below --data_path)"
    params, given = read_command_line(
        __doc__,
        "extract_crops",
        Params,
        **FLAGS,
        **SCOPE_FLAGS,
        boxes_path=PlaceFlag(None, where),
        output_path=PlaceFlag(None, "where the crops go (default: data/crops, or crops below --data_path)"),
        reading=Section("read_video", Reading),
    )
    folders = CorpusFolders.of(given.data_path)
    crops = given.output_path or folders.crops
    of_one_split = crops.name in SPLITS
    places = Places(given.boxes_path or folders.boxes, crops, not of_one_split, params.store)
    if not places.boxes.is_dir():
        raise UserError(f"there are no boxes at {places.boxes}; preprocessing/detect_faces.py makes them")
    scope = scope_of(given)
    videos = videos_of(given)
    refuse_ambiguous_boxes(videos, places)
    if of_one_split:
        videos = Chosen(videos, lambda video: video.split == crops.name)
    part = Part(places.crops, partial(job_of, places=places, params=params, reading=given.reading))
    work = partial(extract_video, places=places, params=params, reading=given.reading)
    update_outputs(videos, part, work, "extract_crops", params.workers, params.max_failed_fraction, scope)
    places.masks.mkdir(exist_ok=True)  # an output of the stage also where no video has a mask


if __name__ == "__main__":
    run(main)
