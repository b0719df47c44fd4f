"""One video in, a verdict out: the same rooms, in the same order and with the same settings as the pipeline's stages.

python serving/predict.py VIDEO… [--model_path CHECKPOINT] [--json]
python serving/predict.py --crops IMAGE… [--model_path CHECKPOINT] [--json]      # faces that are cut out already
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from model_test_train import testing
from model_test_train.checkpoint import Checkpoint, load_checkpoint
from model_test_train.judging import fake_probabilities
from model_test_train.networks.network import Network
from model_test_train.testing import rule_of
from model_test_train.verdicts import AGGREGATIONS, FAKE_VERDICT, NO_VERDICT, FrameScore, Rule, judge_people
from pipeline.errors import UserError, run
from pipeline.params import build, load_params, spellings
from pipeline.project import from_root
from pipeline.reproducible import DEVICES, choose_device
from preprocessing import detection, extraction
from preprocessing.crop_stores import as_stored, read_crop
from preprocessing.crops import crop_image, window_of
from preprocessing.detection import find_boxes
from preprocessing.extraction import chosen_faces
from preprocessing.video import Reading, UnreadableVideo, open_video

CONSOLE = Console(highlight=False, soft_wrap=True)
COLOURS = {FAKE_VERDICT: "bold red", "real": "bold green", NO_VERDICT: "bold yellow"}


@dataclass(frozen=True)
class Examiner:
    """A network with all that its checkpoint says of how to use it."""

    network: Network
    checkpoint: Checkpoint
    rule: Rule
    detection: detection.Params
    extraction: extraction.CropSettings
    reading: Reading

    @classmethod
    def load(cls, model_path: Path, device: str) -> "Examiner":
        network, checkpoint = load_checkpoint(model_path, choose_device(device))
        preprocessing = checkpoint.preprocessing
        return cls(
            network,
            checkpoint,
            rule_of(checkpoint, load_params("test", testing.Params)),
            load_params("detect_faces", detection.Params, {**preprocessing["detect_faces"], "device": device}),
            build(extraction.CropSettings, preprocessing["extract_crops"], "extract_crops"),
            load_params("read_video", Reading),
        )

    def examine(self, path: Path) -> dict[str, Any]:
        """A video's verdict, with that of each person in it."""
        frames = self.score(path)
        people = judge_people(frames, self.rule.aggregation)
        raw = AGGREGATIONS[self.rule.aggregation].video(list(people.values())) if people else None
        return {
            "file": str(path),
            **self._verdict(raw),
            "people": [
                {
                    "track": track,
                    **self._verdict(people[track]),
                    "frames": {frame.frame: frame.fake_probability for frame in frames if frame.track == track},
                }
                for track in people
            ],
            **self._judge(),
        }

    def examine_crops(self, paths: Sequence[Path]) -> list[dict[str, Any]]:
        """Pictures of faces that are cut out already, each with a verdict of its own."""
        pictures = (torch.from_numpy(self.network.input.fit(read_crop(path)))[None] for path in paths)
        raws = fake_probabilities(self.network, pictures).tolist()
        return [{"file": str(path), **self._verdict(raw), **self._judge()} for path, raw in zip(paths, raws, strict=True)]

    def _verdict(self, raw: float | None) -> dict[str, Any]:
        return {
            "verdict": self.rule.verdict(raw),
            "uncertain": self.rule.is_uncertain(raw),
            "fake_probability": None if raw is None else self.rule.calibrated(raw),
            "fake_probability_raw": raw,
        }

    def _judge(self) -> dict[str, Any]:
        """By what it was judged."""
        return {
            "threshold": self.rule.calibrated(self.rule.threshold),
            "model": self.checkpoint.name,
            "warning": self.checkpoint.warning,
        }

    def score(self, path: Path) -> list[FrameScore]:
        """Every face that the pipeline would have cut out of the video, judged; one frame in memory at a time."""
        places, pictures = [], []
        with open_video(path, self.reading) as video:
            faces = chosen_faces(find_boxes(video, path.stem, self.detection).frames, self.extraction)
            for index, frame in video.frames(faces):
                height, width = frame.shape[:2]
                for tracked in faces[index]:
                    settings = self.extraction
                    window = window_of(tracked.face.box, settings.margin, settings.square, width, height)
                    crop = as_stored(crop_image(frame, window), settings.format, settings.quality)
                    pictures.append(torch.from_numpy(self.network.input.fit(crop)))
                    places.append((index, tracked.track))
        batches = torch.stack(pictures).split(64) if pictures else ()
        probabilities = fake_probabilities(self.network, batches)
        return [
            FrameScore(path.stem, index, track, "", float(probability))
            for (index, track), probability in zip(places, probabilities, strict=True)
        ]


def tell(found: dict[str, Any], console: Console) -> None:
    """The verdict in words."""
    verdict = found["verdict"]
    probability = found["fake_probability"]
    told = "no face was found in the frames looked at" if probability is None else f"fake probability {probability:.3f}"
    if found["uncertain"]:
        told += ", uncertain: validation does not bear a verdict here"
    console.print(f"{found['file']}: [{COLOURS[verdict]}]{verdict}[/]  ({told}; called fake above {found['threshold']:.3f})")
    for person in found.get("people", ()):
        console.print(
            f"  person {person['track']}: [{COLOURS[person['verdict']]}]{person['verdict']}[/]  "
            f"{person['fake_probability']:.3f} over {len(person['frames'])} frames"
        )
    console.print(f"  judged by {found['model']}")
    if found["warning"]:
        console.print(f"  [bold yellow]{found['warning']}[/]")


def main() -> None:
    parser = argparse.ArgumentParser(description="Is the face in this video real? The verdict of a trained network.")
    parser.add_argument("files", nargs="+", type=Path, metavar="VIDEO", help="with --crops: IMAGE")
    parser.add_argument("--crops", action="store_true", help="the files are pictures of faces, cut out already")
    parser.add_argument(
        *spellings("model_path"), type=Path, default=from_root("data/models/best.safetensors"), help="the checkpoint"
    )
    parser.add_argument("--json", action="store_true", help="print the verdicts as a JSON list")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    given = parser.parse_args()
    missing = [str(path) for path in given.files if not path.is_file()]
    if missing:
        raise UserError(f"there is no file {missing[0]}")
    examiner = Examiner.load(given.model_path, given.device)
    found = []
    for one in verdicts(examiner, given.files, given.crops):
        found.append(one)
        if not given.json:
            tell(one, CONSOLE)
    if given.json:
        print(json.dumps(found, indent=1))


def verdicts(examiner: Examiner, files: Sequence[Path], are_crops: bool) -> Iterator[dict[str, Any]]:
    if are_crops:
        yield from examiner.examine_crops(files)
        return
    for path in files:
        try:
            yield examiner.examine(path)
        except UnreadableVideo as error:
            raise UserError(f"{path}: {error}") from error


if __name__ == "__main__":
    run(main)
