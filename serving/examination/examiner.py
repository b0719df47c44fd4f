"""One file -> who is in it, and how fake each face is: by the pipeline's own rooms, in their order and with its settings."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from explain_model.figures.over_time import Moment, People, Person
from explain_model.maps.heatmaps import heatmaps
from explain_model.maps.methods import DEFAULT
from model_test_train.evaluation import testing
from model_test_train.evaluation.predictor import Predictor, load_predictor
from model_test_train.evaluation.testing import rule_of
from model_test_train.metrics.verdicts import AGGREGATIONS, FAKE_VERDICT, NO_VERDICT, FrameScore, Rule, by_track, person_scores
from model_test_train.networks.input_contract import Image
from pipeline.errors import UserError
from pipeline.ledger import content_hash
from pipeline.params import build, load_params
from pipeline.reproducible import choose_device
from preprocessing.crops import extraction
from preprocessing.crops.crops import Window, crop_image, window_of
from preprocessing.crops.extraction import chosen_faces
from preprocessing.crops.stores import UnreadablePicture, as_stored, read_picture
from preprocessing.faces import detection
from preprocessing.faces.detection import find_boxes
from preprocessing.faces.tracks import TrackedFace
from preprocessing.video.sampling import evenly_spaced
from preprocessing.video.video import Account, OpenVideo, Reading, VideoFacts, open_video
from serving.examination.segments import SegmentPlan, SegmentSettings, in_words, plan_segments
from serving.models.backends import ONNXRUNTIME, TORCH
from serving.models.onnx_backend import by_onnxruntime

NO_FACE = "no face was found in the frames looked at"
Say = Callable[[str, int, int], object]  # what is being done, how much of it is done, of how much
EXPLAINED_AT_ONCE = 16
CROPS_AT_ONCE = 32


def read_or_error(path: Path) -> Image | UnreadablePicture | OSError:
    try:
        return read_picture(path)
    except (UnreadablePicture, OSError) as error:
        return error


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
    """A verdict: on a segment, on a person, or on the whole file."""

    verdict: str
    is_uncertain: bool
    probability: float | None  # calibrated
    raw: float | None  # as the network has it; thresholds are of these
    reason: str | None = None  # why there is no verdict, or why it is uncertain

    @property
    def is_fake(self) -> bool:
        return self.verdict == FAKE_VERDICT

    def as_facts(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "uncertain": self.is_uncertain,
            "reason": self.reason,
            "fake_probability": self.probability,
            "fake_probability_raw": self.raw,
        }


def no_verdict(reason: str) -> Finding:
    return Finding(NO_VERDICT, False, None, None, reason)


@dataclass(frozen=True)
class Segment:
    """A person in a part of a long video."""

    track: int
    first: int  # frame
    last: int
    frames_scored: int
    finding: Finding


def most_suspicious(segments: Sequence[Segment]) -> Segment | None:
    return max(segments, key=lambda segment: segment.finding.raw or 0.0, default=None)


def doubted(finding: Finding, track: int, segments: Sequence[Segment], facts: VideoFacts) -> Finding:
    """A person who looks fake in one segment is not certainly real."""
    worst = most_suspicious([segment for segment in segments if segment.track == track])
    if finding.is_fake or worst is None or not worst.finding.is_fake or worst.finding.is_uncertain:
        return finding
    where = in_words(worst.first, worst.last, facts.frame_rate)
    return replace(finding, is_uncertain=True, reason=f"person {track} looks fake {where}")


@dataclass(frozen=True)
class Examination:
    """All that was found in a file."""

    path: Path
    facts: VideoFacts
    account: Account
    looked_at: list[int]  # frames
    faces: list[SeenFace]  # those that were scored, by person, in time
    whole: Finding
    people: dict[int, Finding]
    segments: list[Segment]  # of each person, where the file is long enough for several

    def seen_of(self, track: int) -> list[SeenFace]:
        return [face for face in self.faces if face.score.track == track]

    @property
    def frames_scored(self) -> int:
        return len({face.score.frame for face in self.faces})


@dataclass(frozen=True)
class Examiner:
    """A judge, with all that its card says of how faces come before it."""

    judge: Predictor
    model_path: Path
    sha256: str  # of that file
    rule: Rule
    frames_requested: int | None  # None: as the card says, and more of a long video
    frames_per_person: int  # scored of a short video, where no number is requested
    segmenting: SegmentSettings
    detection: detection.Params
    extraction: extraction.CropSettings
    reading: Reading
    demo: bool = False  # whether a network that has never seen a real face may give verdicts

    @classmethod
    def load(
        cls, model_path: Path, device: str = "auto", frames: int | None = None, backend: str = TORCH, demo: bool = False
    ) -> "Examiner":
        """By the file of a judge. `frames` of a video are looked at and scored instead of as many as its card says."""
        judge = load_predictor(model_path, choose_device(device))
        if backend == ONNXRUNTIME:
            judge = by_onnxruntime(judge)
        preprocessing, tests = judge.card.preprocessing, load_params("test", testing.Params)
        seeking = {**preprocessing["detect_faces"], "device": device} | ({"every_frame": False} if frames else {})
        return cls(
            judge,
            model_path,
            content_hash(model_path),
            rule_of(judge.card, tests),
            frames,
            tests.frames_per_video,
            load_params("segments", SegmentSettings),
            load_params("detect_faces", detection.Params, seeking),
            build(extraction.CropSettings, preprocessing["extract_crops"], "extract_crops"),
            load_params("read_video", Reading),
            demo,
        )

    @property
    def refusal(self) -> str | None:
        return None if self.demo else self.judge.card.refusal

    def examine(self, path: Path, say: Say = silent) -> Examination:
        with open_video(path, self.reading) as video:
            if self.refusal:
                return Examination(path, video.facts, video.account, [], [], no_verdict(self.refusal), {}, [])
            plan = plan_segments(video.facts, self.segmenting, self.frames_requested, self.detection.frames)
            total = video.facts.frames_present
            frames = total if self.detection.every_frame else min(total, plan.frames)
            settings = replace(self.detection, frames=plan.frames)
            boxes = find_boxes(video, path.stem, settings, lambda done: say("looking for faces", done, frames))
            account = video.account
            cut = self._cut(video, self._chosen(boxes.frames, plan), say)
        say("judging", 0, len(cut))
        probabilities, of_each = self.judge.judge([crop for *_, crop in cut])
        faces = [
            SeenFace(FrameScore(path.stem, index, track, "", float(probability), tuple(told)), window, crop)
            for (index, track, window, crop), probability, told in zip(cut, probabilities, of_each.tolist(), strict=True)
        ]
        say("judging", len(cut), len(cut))
        scores = [face.score for face in faces]
        people = {track: self._finding(of_track) for track, of_track in by_track(scores).items()}
        segments = list(self._segments(scores, plan, total))
        people = {track: doubted(finding, track, segments, video.facts) for track, finding in people.items()}
        whole = self._whole(scores, people)
        return Examination(path, video.facts, account, boxes.looked_at, faces, whole, people, segments)

    def _whole(self, scores: Sequence[FrameScore], people: dict[int, Finding]) -> Finding:
        """The people decide together; a verdict of `real` is as uncertain as that on any of them."""
        if not scores:
            return no_verdict(NO_FACE)
        whole = self._finding(scores)
        doubt = next((person for person in people.values() if person.is_uncertain and person.reason), None)
        return replace(whole, is_uncertain=True, reason=doubt.reason) if doubt and not whole.is_fake else whole

    def _segments(self, scores: Sequence[FrameScore], plan: SegmentPlan, total: int) -> Iterator[Segment]:
        """A verdict on each person in each part of a long video."""
        if plan.segments == 1:
            return
        for track, of_track in by_track(scores).items():
            by_segment: dict[int, list[FrameScore]] = {}
            for score in of_track:
                by_segment.setdefault(plan.segment_of(score.frame, total), []).append(score)
            for number, of_segment in sorted(by_segment.items()):
                yield Segment(track, *plan.frames_of(number, total), len(of_segment), self._finding(of_segment))

    def _chosen(self, frames: dict[int, list[TrackedFace]], plan: SegmentPlan) -> dict[int, list[TrackedFace]]:
        """Those that the stages would cut out, and of these equidistant ones of each person, as in a test."""
        of_people: dict[int, list[tuple[int, TrackedFace]]] = {}
        for index, faces in chosen_faces(frames, self.extraction).items():
            for face in faces:
                of_people.setdefault(face.track, []).append((index, face))
        most = self.frames_requested or max(self.frames_per_person, plan.segments * self.segmenting.frames)
        chosen: dict[int, list[TrackedFace]] = {}
        for track in sorted(of_people):
            for place in evenly_spaced(len(of_people[track]), most):
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

    def examine_crops(self, paths: Sequence[Path]) -> Iterator[Finding | UnreadablePicture | OSError]:
        """Pictures of faces that are cut out already, each with a verdict of its own, or why it cannot be read."""
        for first in range(0, len(paths), CROPS_AT_ONCE):
            pictures = [read_or_error(path) for path in paths[first : first + CROPS_AT_ONCE]]
            findings = iter(self._findings_of([picture for picture in pictures if isinstance(picture, np.ndarray)]))
            yield from (next(findings) if isinstance(picture, np.ndarray) else picture for picture in pictures)

    def _findings_of(self, crops: Sequence[Image]) -> list[Finding]:
        if self.refusal:
            return [no_verdict(self.refusal)] * len(crops)
        probabilities, of_each = self.judge.judge(crops) if crops else ((), ())
        scores = zip(probabilities, of_each, strict=True)
        return [self._finding([FrameScore("", 0, 0, "", float(raw), tuple(members))]) for raw, members in scores]

    def _finding(self, scores: Sequence[FrameScore]) -> Finding:
        """The verdict on frames of one person, or of several."""
        raw = AGGREGATIONS[self.rule.aggregation].video(list(person_scores(scores, self.rule.aggregation).values()))
        if not np.isfinite(raw):
            raise UserError(f"{self.judge.card.name} gives no number for this file; it cannot be used")
        verdict, reason = self.rule.verdict(raw), None
        if self.rule.is_uncertain(raw):
            reason = "too many validation videos with such a probability were classified wrongly"
        elif self.judge.are_at_odds(scores, verdict == FAKE_VERDICT, self.rule.aggregation):
            reason = "the networks of the ensemble disagree"
        return Finding(verdict, reason is not None, self.rule.calibrated(raw), raw, reason)

    def explain(self, examination: Examination, say: Say = silent) -> People:
        """The evidence in each face for the verdict on its person; of several networks, the mean of their maps."""
        people = {track: Person(finding.verdict, finding.is_uncertain, []) for track, finding in examination.people.items()}
        for first in range(0, len(examination.faces), EXPLAINED_AT_ONCE):
            say("explaining", first, len(examination.faces))
            faces = examination.faces[first : first + EXPLAINED_AT_ONCE]
            crops, asked = [face.crop for face in faces], [people[face.score.track].called_fake for face in faces]
            heats = [heatmaps(network, crops, asked, DEFAULT) for network in self.judge.networks.values()]
            for face, *of_each in zip(faces, *heats, strict=True):
                heat = sum(one.spoke_for for one in of_each) / len(of_each)
                moment = Moment(face.score.frame, face.window, face.crop, heat, face.probability)
                people[face.score.track].moments.append(moment)
        say("explaining", len(examination.faces), len(examination.faces))
        return people

    def identity(self) -> dict[str, Any]:
        """Which network it is, what must be said beside its verdicts, and why it gives none, if it gives none."""
        card = self.judge.card
        return {"model": card.name, "sha256": self.sha256, "warning": card.warning, "refusal": self.refusal}

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
            "frames_requested": self.frames_requested,
            "frames_per_person": self.frames_per_person,
            "segments": asdict(self.segmenting),
            "demo": self.demo,
            "run_by": ONNXRUNTIME if self.judge.runners else TORCH,
            "detect_faces": asdict(self.detection.settings()),
            "extract_crops": asdict(self.extraction),
        }
