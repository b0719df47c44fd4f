"""Score files with detectors of several kinds."""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from explain_deepfakes.model_test_train.evaluation.python_detector import FailedScore, python_detector
from explain_deepfakes.model_test_train.networks.detector_files import installed_detector
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import read_index
from explain_deepfakes.pipeline.outputs import write_csv
from explain_deepfakes.pipeline.progress import track
from explain_deepfakes.pipeline.project import from_root
from explain_deepfakes.preprocessing.video.video import UnreadableVideo, start_decoder
from explain_deepfakes.serving.examination.examiner import Examiner, ignore_progress
from explain_deepfakes.serving.examination.files import PICTURES, VIDEOS, find_files

Row = dict[str, object]
ScoreFile = Callable[[Path], float]  # raises FailedScore


def score_videos(args: Namespace) -> None:
    rows, files = rows_of_index(args.index) if args.index else rows_of_files(args.files)
    names = [Path(detector).stem if Path(detector).suffix else detector for detector in args.detectors]
    if len(set(names)) < len(names):
        raise UserError("two detectors have the same name; rename one of the files")
    for detector in args.detectors:
        find_detector(detector)  # so that a wrong name is noticed before hours of scoring
    failed, columns = 0, list(rows[0])
    for name, detector in zip(names, args.detectors, strict=True):
        with open_detector(detector, args.device) as score:
            for row, file in track(zip(rows, files, strict=True), len(rows), name, "videos"):
                try:
                    row[name] = score(file)
                except FailedScore as error:
                    failed += 1
                    print(f"{file}: {name}: {error}", file=sys.stderr)
        columns.append(name)
        write_csv(args.output, columns, rows)  # after each detector, so that an interrupted run keeps its scores
    print(f"{args.output}: {len(rows)} videos, {len(names)} detectors, {failed} scores missing")


def rows_of_files(paths: list[Path]) -> tuple[list[Row], list[Path]]:
    files = list(find_files(paths, VIDEOS | PICTURES))
    return [{"video": str(file)} for file in files], files


def rows_of_index(path: Path) -> tuple[list[Row], list[Path]]:
    videos = [video for video in read_index(path) if video.split == "test_set"]
    if not videos:
        raise UserError(f"{path} has no test videos")
    rows: list[Row] = [
        {"video": video.video, "label": video.label, "method": video.method, "identities": " ".join(video.identities)}
        for video in videos
    ]
    return rows, [from_root(video.path) for video in videos]


def find_detector(name: str) -> Path:
    """A file, or the checkpoint of an installed detector."""
    path = Path(name)
    if path.suffix and not path.is_file():
        raise UserError(f"there is no file {path}")
    return path if path.is_file() else installed_detector(name)


@contextmanager
def open_detector(name: str, device: str) -> Iterator[ScoreFile]:
    path = find_detector(name)
    if path.suffix == ".py":
        with python_detector(path) as detector:
            yield detector.score
        return
    start_decoder()
    examiner = Examiner.load(path, device, None, demo=True)  # scores, not verdicts: any network may be compared

    def score(file: Path) -> float:
        try:
            probability = examiner.examine(file, ignore_progress).verdict.probability
        except UnreadableVideo as error:
            raise FailedScore(str(error)) from error
        if probability is None:
            raise FailedScore("no face")
        return probability

    yield score
