"""Stage extract_crops: the crops and masks of each video, with incremental updates."""

from argparse import Namespace
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from explain_deepfakes.pipeline.buckets import join_path
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.incremental import (
    FilteredVideos,
    Outcome,
    StageFolder,
    VideoTask,
    failure,
    read_settings,
    scope_from_args,
    update_outputs,
)
from explain_deepfakes.pipeline.index import CROPS, ORIGINAL, SPLITS, Video
from explain_deepfakes.pipeline.ledger import content_hash, key_of
from explain_deepfakes.pipeline.project import from_root, relative
from explain_deepfakes.preprocessing.corpus.folders import CorpusFolders
from explain_deepfakes.preprocessing.corpus.source import select_videos
from explain_deepfakes.preprocessing.crops.crops import CropRow
from explain_deepfakes.preprocessing.crops.extraction import select_faces, write_crops, write_masks
from explain_deepfakes.preprocessing.crops.params import CropParams
from explain_deepfakes.preprocessing.crops.stores import output_name, picture_writer
from explain_deepfakes.preprocessing.faces.boxes import BadBoxes, read_boxes
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.video import OpenVideo, UnreadableVideo, open_video

DETECT_AGAIN = "run detect_faces, and see its failures.csv"
PUBLISHED_ORIGINALS = ("youtube", "actors")  # folders where the published script writes the boxes of originals


@dataclass(frozen=True)
class CropPaths:
    """The folders that boxes are read from and crops are written to, and the names in them."""

    boxes: Path
    crops: Path
    with_split: bool  # whether the crops of a video are in a folder of its split
    store: str

    def boxes_of(self, video: Video) -> Path:
        """Return the boxes file of detect_faces, else one of the published script, which may omit the method."""
        default, published = self.boxes / f"{video.video}.json", f"{Path(video.path).stem}.json"
        folders = PUBLISHED_ORIGINALS if video.method == ORIGINAL else ()
        candidates = (default, *(self.boxes / folder / published for folder in folders), self.boxes / published)
        return next((path for path in candidates if path.is_file()), default)

    @property
    def masks(self) -> Path:
        return self.crops.parent / "masks"

    def outputs_of(self, video: Video) -> tuple[str, ...]:
        """Return the outputs for crops and, if the video has a mask, for masks; relative to the folder of crops."""
        crops = f"{video.split}/{video.video}" if self.with_split else video.video
        names = (crops, f"../{self.masks.name}/{video.video}") if video.mask else (crops,)
        return tuple(output_name(name, self.store) for name in names)


def extract_video(
    task: VideoTask, paths: CropPaths, params: CropParams, reading: ReadingParams, opened: OpenVideo | None = None
) -> Outcome:
    """Write the crops and masks of a video. `opened` is the video if it is already open."""
    if task.video.kind == CROPS:  # they are used as they are
        params = replace(params, margin=0.0, square=False)
    boxes_path = paths.boxes_of(task.video)
    if not boxes_path.is_file():
        return failure(task, "it has no boxes", DETECT_AGAIN)
    try:
        faces = select_faces(read_boxes(boxes_path).frames, params)
        if not faces:
            reason = f"no face of at least {params.min_size} px in its boxes"
            return failure(task, reason, f"{DETECT_AGAIN}, or lower extract_crops.min_size")
        with (
            nullcontext(opened) if opened else open_video(from_root(task.video.path), reading) as video,
            picture_writer(paths.crops / task.outputs[0], paths.store) as write,
        ):
            rows = write_crops(video, faces, write, params)
            if not rows:
                raise UnreadableVideo("none of the frames with boxes can be decoded", DETECT_AGAIN)
    except BadBoxes as error:
        return failure(task, str(error), f"delete {relative(boxes_path)}, and {DETECT_AGAIN}")
    except UnreadableVideo as error:
        return failure(task, error.reason, error.remedy)
    undecoded = sorted(set(faces) - {row.frame for row in rows})
    return write_known_masks(task, paths, reading, rows, undecoded)


def write_known_masks(
    task: VideoTask, paths: CropPaths, reading: ReadingParams, rows: list[CropRow], undecoded: list[int]
) -> Outcome:
    """Write the masks of the crops if the video has a mask, and return the outcome for crops and masks."""
    facts: dict[str, object] = {"crops": rows, "undecoded": undecoded} if undecoded else {"crops": rows}
    if not task.video.mask:
        return Outcome(task, task.outputs, facts)
    try:
        with picture_writer(join_path(paths.crops, task.outputs[1]), paths.store) as write:
            write_masks(from_root(task.video.mask), rows, write, reading)
    except UnreadableVideo as error:
        missing = {"reason": f"its mask {task.video.mask}: {error.reason}", "remedy": error.remedy}
        return Outcome(task, task.outputs[:1], facts | missing)
    return Outcome(task, task.outputs, facts)


def refuse_ambiguous_boxes(videos: Iterable[Video], paths: CropPaths) -> None:
    """Raise if two videos share a boxes file, which can happen for files without a method."""
    owners: dict[Path, Video] = {}
    for video in videos if any(paths.boxes.glob("*.json")) else ():
        boxes = paths.boxes_of(video)
        owner = owners.setdefault(boxes, video)
        if owner != video:
            raise UserError(
                f"{boxes} may be the boxes of {owner.video} or of {video.video}; move it into the folder of its method"
            )


def make_task(video: Video, paths: CropPaths, params: CropParams, reading: ReadingParams) -> VideoTask:
    boxes = _hash_if_readable(paths.boxes_of(video))
    key = key_of(video.content, video.split, video.mask, boxes, params.relevant_params(), reading.relevant_params())
    return VideoTask(video, key, paths.outputs_of(video))


def _hash_if_readable(boxes: Path) -> str | None:
    """Return the hash, or None for an unreadable file, which extract_video reports."""
    try:
        return content_hash(boxes)
    except OSError:
        return None


def extract_crops(params: CropParams, args: Namespace) -> None:
    folders = CorpusFolders.at(args.data_path)
    output = args.output_path or folders.crops
    is_one_split = output.name in SPLITS
    paths = CropPaths(args.boxes_path or folders.boxes, output, not is_one_split, params.store)
    if not paths.boxes.is_dir():
        raise UserError(f"there are no boxes at {paths.boxes}; run preprocessing/detect_faces.py first")
    scope = scope_from_args(args)
    videos = select_videos(args)
    refuse_ambiguous_boxes(videos, paths)
    if is_one_split:
        videos = FilteredVideos(videos, lambda video: video.split == output.name)
    settings = {**read_settings(paths.boxes), **params.recorded_settings()}
    stage = StageFolder(paths.crops, partial(make_task, paths=paths, params=params, reading=args.reading), settings)
    work = partial(extract_video, paths=paths, params=params, reading=args.reading)
    update_outputs(videos, stage, work, "extract_crops", params.workers, params.max_failed_fraction, scope)
    paths.masks.mkdir(exist_ok=True)  # DVC expects this output even if no video has a mask
