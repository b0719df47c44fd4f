"""The stages detect_faces and extract_crops in one go: each video is decoded once for both, which large corpora feel.

Leaves what the two would leave, one after the other, and what they take as done: boxes, crops and masks in data/, or below
`--data_path`. Flags are detect_faces'; crops are cut as params.yaml says.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pipeline.errors import run
from pipeline.incremental import SCOPE_FLAGS, Outcome, Part, StaleItem, scope_of, update_all_outputs
from pipeline.outputs import remove
from pipeline.params import PlaceFlag, Section, load_params, read_command_line
from pipeline.project import from_root
from preprocessing import detect_faces, extract_crops
from preprocessing.corpus.folders import CorpusFolders
from preprocessing.corpus.source import FLAGS, videos_of
from preprocessing.crops import extraction
from preprocessing.extract_crops import Places
from preprocessing.faces import detection
from preprocessing.faces.ray_detector import detectors_of
from preprocessing.video.video import OpenVideo, Reading, UnreadableVideo, open_video


def preprocess_video(
    due: StaleItem, places: Places, finding: detection.Params, cutting: extraction.Params, reading: Reading
) -> Sequence[Outcome | None]:
    video = next(job.video for job in due if job)
    work = partial(detect_and_extract, due, places, finding, cutting, reading)
    try:
        with open_video(from_root(video.path), reading) as opened:
            return work(opened)
    except UnreadableVideo:  # each of the two says so of its own
        return work(None)


def detect_and_extract(
    due: StaleItem,
    places: Places,
    finding: detection.Params,
    cutting: extraction.Params,
    reading: Reading,
    opened: OpenVideo | None,
) -> Sequence[Outcome | None]:
    to_detect, to_extract = due
    found = cut = None
    if to_detect:
        found = detect_faces.detect_in_video(to_detect, places.boxes, finding, reading, opened)
        for stale in set(to_detect.outputs).difference(found.outputs):
            remove(places.boxes / stale)
    if to_extract:
        job = extract_crops.job_of(to_extract.video, places, cutting, reading)  # of the boxes that are there now
        cut = extract_crops.extract_video(job, places, cutting, reading, opened)
    return found, cut


def main() -> None:
    finding, given = read_command_line(
        __doc__,
        "detect_faces",
        detection.Params,
        **FLAGS,
        **SCOPE_FLAGS,
        boxes_path=PlaceFlag(None, "where the boxes go (default: data/boxes, or boxes below --data_path)"),
        output_path=PlaceFlag(None, "where the crops go (default: data/crops, or crops below --data_path)"),
        reading=Section("read_video", Reading),
    )
    cutting = load_params("extract_crops", extraction.Params)
    folders = CorpusFolders.of(given.data_path)
    places = Places(given.boxes_path or folders.boxes, given.output_path or folders.crops, with_split=True, store=cutting.store)
    scope, videos = scope_of(given), videos_of(given)
    extract_crops.refuse_ambiguous_boxes(videos, places)
    boxes = Part(places.boxes, partial(detect_faces.job_of, params=finding, reading=given.reading))
    crops = Part(places.crops, partial(extract_crops.job_of, places=places, params=cutting, reading=given.reading))
    with detectors_of(scope.ray, finding.detector_settings(), finding.device, finding.workers) as device:
        placed = replace(finding, device=device)
        work = partial(preprocess_video, places=places, finding=placed, cutting=cutting, reading=given.reading)
        update_all_outputs(videos, [boxes, crops], work, "preprocess", finding.workers, finding.max_failed_fraction, scope)
    places.masks.mkdir(exist_ok=True)


if __name__ == "__main__":
    run(main)
