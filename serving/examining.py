"""One file -> who is in it, and how fake each face is: by the pipeline's own rooms, in their order and with its settings."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from explain_model.heatmaps import heatmaps
from explain_model.maps import DEFAULT
from explain_model.over_time import Moment, People
from model_test_train import testing
from model_test_train.inputs import Image
from model_test_train.judge import Judge, load_judge
from model_test_train.testing import rule_of
from model_test_train.verdicts import AGGREGATIONS, FAKE_VERDICT, FrameScore, Rule, judge_people
from pipeline.ledger import content_hash
from pipeline.params import build, load_params
from pipeline.reproducible import choose_device
from preprocessing import detection, extraction
from preprocessing.crop_stores import as_stored, read_crop
from preprocessing.crops import Window, crop_image, window_of
from preprocessing.detection import find_boxes
from preprocessing.extraction import chosen_faces
from preprocessing.tracks import TrackedFace
from preprocessing.video import Account, OpenVideo, Reading, VideoFacts, evenly_spaced, open_video
from serving.onnx_export import by_onnxruntime
from serving.workers import ONNXRUNTIME, TORCH

Say = Callable[[str, int, int], object]  # what is being done, how much of it is done, of how much
EXPLAINED_AT_ONCE = 16


def silent(doing: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True, eq=False)
class SeenFace:
    """A person in a frame that was looked at, and how fake each network found the face."""

    score: FrameScore
    window: Window  # of the frame's pixels
    crop: Image

    @property
    def probability(self) -> float:
        return self.score.fake_probability


@dataclass(frozen=True)
class Finding:
    """A verdict, of a person or of the whole file."""

    verdict: str
    is_uncertain: bool
    probability: float | None  # calibrated
    raw: float | None  # as the network has it; thresholds are of these

    def as_facts(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "uncertain": self.is_uncertain,
            "fake_probability": self.probability,
            "fake_probability_raw": self.raw,
        }


@dataclass(frozen=True)
class Examination:
    """All that was found in a file."""

    path: Path
    facts: VideoFacts
    account: Account
    looked_at: list[int]  # frames
    faces: list[SeenFace]  # by person, in time
    whole: Finding
    people: dict[int, Finding]

    def seen_of(self, track: int) -> list[SeenFace]:
        return [face for face in self.faces if face.score.track == track]


@dataclass(frozen=True)
class Examiner:
    """A judge, with all that its card says of how faces come before it."""

    judge: Judge
    model_path: Path
    sha256: str  # of that file
    rule: Rule
    frames_per_person: int
    detection: detection.Params
    extraction: extraction.CropSettings
    reading: Reading

    @classmethod
    def load(cls, model_path: Path, device: str = "auto", frames: int | None = None, backend: str = TORCH) -> "Examiner":
        """By the file of a judge. `frames` of a video are looked at instead of as many as its card says."""
        judge = load_judge(model_path, choose_device(device))
        if backend == ONNXRUNTIME:
            judge = by_onnxruntime(judge)
        preprocessing, tests = judge.card.preprocessing, load_params("test", testing.Params)
        seeking = {**preprocessing["detect_faces"], "device": device} | ({"frames": frames} if frames else {})
        return cls(
            judge,
            model_path,
            content_hash(model_path),
            rule_of(judge.card, tests),
            tests.frames_per_video,
            load_params("detect_faces", detection.Params, seeking),
            build(extraction.CropSettings, preprocessing["extract_crops"], "extract_crops"),
            load_params("read_video", Reading),
        )

    def examine(self, path: Path, say: Say = silent) -> Examination:
        with open_video(path, self.reading) as video:
            total = video.facts.frames_present
            frames = total if self.detection.every_frame else min(total, self.detection.frames)
            boxes = find_boxes(video, path.stem, self.detection, lambda done: say("looking for faces", done, frames))
            account = video.account
            cut = self._cut(video, self._chosen(boxes.frames), say)
        say("judging", 0, len(cut))
        probabilities, of_each = self.judge.judge([crop for *_, crop in cut])
        faces = [
            SeenFace(FrameScore(path.stem, index, track, "", float(probability), tuple(told)), window, crop)
            for (index, track, window, crop), probability, told in zip(cut, probabilities, of_each.tolist(), strict=True)
        ]
        say("judging", len(cut), len(cut))
        scores = [face.score for face in faces]
        people = judge_people(scores, self.rule.aggregation)
        whole = self._finding(AGGREGATIONS[self.rule.aggregation].video(list(people.values())) if people else None, scores)
        found = {
            track: self._finding(raw, [score for score in scores if score.track == track]) for track, raw in people.items()
        }
        return Examination(path, video.facts, account, boxes.looked_at, faces, whole, found)

    def _chosen(self, frames: dict[int, list[TrackedFace]]) -> dict[int, list[TrackedFace]]:
        """Those that the stages would cut out, and of these equidistant ones of each person, as in a test."""
        of_people: dict[int, list[tuple[int, TrackedFace]]] = {}
        for index, faces in chosen_faces(frames, self.extraction).items():
            for face in faces:
                of_people.setdefault(face.track, []).append((index, face))
        chosen: dict[int, list[TrackedFace]] = {}
        for track in sorted(of_people):
            for place in evenly_spaced(len(of_people[track]), self.frames_per_person):
                index, face = of_people[track][place]
                chosen.setdefault(index, []).append(face)
        return chosen

    def _cut(self, video: OpenVideo, faces: dict[int, list[TrackedFace]], say: Say) -> list[tuple[int, int, Window, Image]]:
        """Frame, person, window and crop of each, by person."""
        settings, cut = self.extraction, []
        for done, (index, frame) in enumerate(video.frames(faces), 1):
            height, width = frame.shape[:2]
            for tracked in faces[index]:
                window = window_of(tracked.face.box, settings.margin, settings.square, width, height)
                crop = as_stored(crop_image(frame, window), settings.format, settings.quality)
                cut.append((index, tracked.track, window, crop))
            say("cutting them out", done, len(faces))
        return sorted(cut, key=lambda one: (one[1], one[0]))

    def examine_crops(self, paths: Sequence[Path]) -> list[Finding]:
        """Pictures of faces that are cut out already, each with a verdict of its own."""
        probabilities, of_each = self.judge.judge([read_crop(path) for path in paths])
        return [
            self._finding(float(raw), [FrameScore(path.stem, 0, 0, "", float(raw), tuple(told))])
            for path, raw, told in zip(paths, probabilities, of_each.tolist(), strict=True)
        ]

    def _finding(self, raw: float | None, scores: Sequence[FrameScore]) -> Finding:
        if raw is None:
            return Finding(self.rule.verdict(None), False, None, None)
        verdict = self.rule.verdict(raw)
        at_odds = self.judge.are_at_odds(scores, verdict == FAKE_VERDICT, self.rule.aggregation)
        return Finding(verdict, self.rule.is_uncertain(raw) or at_odds, self.rule.calibrated(raw), raw)

    def explain(self, examination: Examination, say: Say = silent) -> People:
        """What spoke for the verdict in each face; of several networks, the mean of what spoke to each."""
        called_fake = examination.whole.verdict == FAKE_VERDICT
        people: People = {}
        for first in range(0, len(examination.faces), EXPLAINED_AT_ONCE):
            say("explaining", first, len(examination.faces))
            faces = examination.faces[first : first + EXPLAINED_AT_ONCE]
            crops, asked = [face.crop for face in faces], [called_fake] * len(faces)
            heats = [heatmaps(network, crops, asked, DEFAULT) for network in self.judge.networks.values()]
            for face, *of_each in zip(faces, *heats, strict=True):
                heat = sum(one.spoke_for for one in of_each) / len(of_each)
                moment = Moment(face.score.frame, face.window, face.crop, heat, face.probability)
                people.setdefault(face.score.track, []).append(moment)
        say("explaining", len(examination.faces), len(examination.faces))
        return people

    def as_facts(self) -> dict[str, Any]:
        """By whom and how it was judged."""
        card = self.judge.card
        return {
            "model": card.name,
            "sha256": self.sha256,
            "warning": card.warning,
            "trained_on": card.trained_on,
            "code": card.provenance.get("code"),
            "threshold": self.rule.calibrated(self.rule.threshold),
            "threshold_raw": self.rule.threshold,  # for frames, which are not calibrated
            "uncertain_from_to": [self.rule.calibrated(edge) for edge in self.rule.band] if self.rule.band else None,
            "aggregation": AGGREGATIONS[self.rule.aggregation].words,
            "frames_per_person": self.frames_per_person,
            "run_by": ONNXRUNTIME if self.judge.runners else TORCH,
            "detect_faces": asdict(self.detection.settings()),
            "extract_crops": asdict(self.extraction),
        }
