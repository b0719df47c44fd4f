"""The examiner: one file -> people, a score for each face, and verdicts, by the same code as the pipeline's stages."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from explain_deepfakes.explain_model.figures.people import Moment, People, Person
from explain_deepfakes.explain_model.maps.heatmaps import compute_heatmaps
from explain_deepfakes.explain_model.maps.methods import DEFAULT
from explain_deepfakes.model_test_train.evaluation.checkpoint_rule import make_verdict_rule
from explain_deepfakes.model_test_train.evaluation.params import TestParams
from explain_deepfakes.model_test_train.evaluation.predictor import Predictor, load_predictor
from explain_deepfakes.model_test_train.metrics.aggregation import (
    AGGREGATIONS,
    FAKE_VERDICT,
    NO_VERDICT,
    FrameScore,
    VerdictRule,
    group_by_track,
    video_score,
)
from explain_deepfakes.model_test_train.networks.input_contract import Image
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.reproducible import choose_device
from explain_deepfakes.preprocessing.crops.crops import Window, crop_image
from explain_deepfakes.preprocessing.crops.extraction import face_window, select_faces
from explain_deepfakes.preprocessing.crops.params import CropSettings, recorded_crop_settings
from explain_deepfakes.preprocessing.crops.stores import UnreadablePicture, as_stored, read_picture
from explain_deepfakes.preprocessing.faces.detection import find_boxes
from explain_deepfakes.preprocessing.faces.params import DetectionParams
from explain_deepfakes.preprocessing.faces.tracks import TrackedFace
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.sampling import evenly_spaced
from explain_deepfakes.preprocessing.video.video import DecodingStats, OpenVideo, VideoFacts, open_video
from explain_deepfakes.serving.examination.records import ModelRecord, VerdictRecord
from explain_deepfakes.serving.examination.segments import SegmentParams, SegmentPlan, format_time_range, plan_segments
from explain_deepfakes.serving.models.backends import ONNXRUNTIME, TORCH
from explain_deepfakes.serving.models.identity import ModelIdentity
from explain_deepfakes.serving.models.onnx_backend import with_onnxruntime

NO_FACE = "no face was found in the sampled frames"
ProgressCallback = Callable[[str, int, int], object]  # the current step, how much of it is done, of how much
EXPLANATION_BATCH = 16
CROP_BATCH = 32


def read_or_error(path: Path) -> Image | UnreadablePicture | OSError:
    try:
        return read_picture(path)
    except (UnreadablePicture, OSError) as error:
        return error


def ignore_progress(doing: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True, eq=False)
class ScoredFace:
    """A person's face in a sampled frame, and its score."""

    score: FrameScore
    window: Window  # in the frame's pixels
    crop: Image

    @property
    def probability(self) -> float:
        return self.score.fake_probability


@dataclass(frozen=True)
class CroppedFace:
    """A person's face in a sampled frame, to be scored."""

    frame: int
    track: int
    window: Window
    crop: Image


@dataclass(frozen=True)
class CalibratedVerdict:
    """A verdict on a segment, a person or a file, with its calibrated fake probability."""

    verdict: str
    is_uncertain: bool
    probability: float | None  # calibrated
    raw: float | None  # before calibration; thresholds apply to these
    reason: str | None = None  # why there is no verdict, or why it is uncertain

    @property
    def is_fake(self) -> bool:
        return self.verdict == FAKE_VERDICT

    def as_record(self) -> VerdictRecord:
        return {
            "verdict": self.verdict,
            "uncertain": self.is_uncertain,
            "reason": self.reason,
            "fake_probability": self.probability,
            "fake_probability_raw": self.raw,
        }


def no_verdict(reason: str) -> CalibratedVerdict:
    return CalibratedVerdict(NO_VERDICT, False, None, None, reason)


@dataclass(frozen=True)
class ScoredSegment:
    """The verdict on a person in one segment of a long video."""

    track: int
    first: int  # frame
    last: int
    frames_scored: int
    verdict: CalibratedVerdict


def most_suspicious(segments: Sequence[ScoredSegment]) -> ScoredSegment | None:
    return max(segments, key=lambda segment: segment.verdict.raw or 0.0, default=None)


def with_segment_doubt(
    verdict: CalibratedVerdict, track: int, segments: Sequence[ScoredSegment], facts: VideoFacts
) -> CalibratedVerdict:
    """The verdict on a person, uncertain if it is `real` but one of the person's segments is certainly fake."""
    worst = most_suspicious([segment for segment in segments if segment.track == track])
    if verdict.is_fake or worst is None or not worst.verdict.is_fake or worst.verdict.is_uncertain:
        return verdict
    when = format_time_range(worst.first, worst.last, facts.frame_rate)
    return replace(verdict, is_uncertain=True, reason=f"person {track} looks fake {when}")


@dataclass(frozen=True)
class Examination:
    """The scores and verdicts of a file."""

    path: Path
    facts: VideoFacts
    stats: DecodingStats
    sampled_frames: list[int]
    faces: list[ScoredFace]  # sorted by person, then by frame
    verdict: CalibratedVerdict
    people: dict[int, CalibratedVerdict]  # by track
    segments: list[ScoredSegment]  # for each person, if the file is long enough for several

    def faces_of(self, track: int) -> list[ScoredFace]:
        return [face for face in self.faces if face.score.track == track]

    @property
    def frames_scored(self) -> int:
        return len({face.score.frame for face in self.faces})


@dataclass(frozen=True)
class Examiner:
    """A predictor with all settings for detecting, cropping and sampling faces that its checkpoint card requires."""

    predictor: Predictor
    model_path: Path
    sha256: str  # of the model file
    rule: VerdictRule
    frames_requested: int | None  # None: as the card says, and more for a long video
    frames_per_person: int  # to score in a short video, if no number is requested
    segment_params: SegmentParams
    detection: DetectionParams
    extraction: CropSettings
    reading: ReadingParams
    demo: bool = False  # whether a network that was never trained on real faces may give verdicts

    @classmethod
    def load(
        cls, model_path: Path, device: str = "auto", frames: int | None = None, backend: str = TORCH, demo: bool = False
    ) -> "Examiner":
        """Load a checkpoint or an ensemble. `frames` overrides the number of frames that its card says to sample and score."""
        predictor = load_predictor(model_path, choose_device(device))
        if backend == ONNXRUNTIME:
            predictor = with_onnxruntime(predictor)
        preprocessing, tests = predictor.card.preprocessing, load_params("test", TestParams)
        if missing := {"detect_faces", "extract_crops"} - preprocessing.keys():
            raise UserError(f"{model_path} cannot examine files: its card has no settings of {min(missing)}")
        detection_overrides = {**preprocessing["detect_faces"], "device": device} | ({"every_frame": False} if frames else {})
        return cls(
            predictor,
            model_path,
            content_hash(model_path),
            make_verdict_rule(predictor.card, tests),
            frames,
            tests.frames_per_video,
            load_params("segments", SegmentParams),
            load_params("detect_faces", DetectionParams, detection_overrides),
            recorded_crop_settings(preprocessing),
            load_params("read_video", ReadingParams),
            demo,
        )

    @property
    def refusal(self) -> str | None:
        return None if self.demo else self.predictor.card.refusal

    def examine(self, path: Path, report_progress: ProgressCallback = ignore_progress) -> Examination:
        """Detect, crop and score the faces in a video or a picture, and derive the verdicts."""
        with open_video(path, self.reading) as video:
            if self.refusal:
                return Examination(path, video.facts, video.stats, [], [], no_verdict(self.refusal), {}, [])
            plan = plan_segments(video.facts, self.segment_params, self.frames_requested, self.detection.frames)
            total = video.facts.frames_present
            frames = total if self.detection.every_frame else min(total, plan.frames)
            settings = replace(self.detection, frames=plan.frames)
            boxes = find_boxes(video, path.stem, settings, lambda done: report_progress("detecting faces", done, frames))
            stats = video.stats
            cropped = self._crop_faces(video, self._select_faces(boxes.frames, plan), report_progress)
        report_progress("scoring faces", 0, len(cropped))
        probabilities, member_probabilities = self.predictor.predict([face.crop for face in cropped])
        faces = [
            ScoredFace(
                FrameScore(path.stem, face.frame, face.track, "", float(probability), tuple(members), face.window.area),
                face.window,
                face.crop,
            )
            for face, probability, members in zip(cropped, probabilities, member_probabilities.tolist(), strict=True)
        ]
        report_progress("scoring faces", len(cropped), len(cropped))
        scores = [face.score for face in faces]
        people = {track: self._verdict(track_scores) for track, track_scores in group_by_track(scores).items()}
        segments = list(self._score_segments(scores, plan, total))
        people = {track: with_segment_doubt(verdict, track, segments, video.facts) for track, verdict in people.items()}
        verdict = self._file_verdict(scores, people)
        return Examination(path, video.facts, stats, boxes.analysed_frames, faces, verdict, people, segments)

    def _file_verdict(self, scores: Sequence[FrameScore], people: dict[int, CalibratedVerdict]) -> CalibratedVerdict:
        """The verdict on the file. If it is `real`, it is uncertain whenever the verdict on a person is."""
        if not scores:
            return no_verdict(NO_FACE)
        verdict = self._verdict(scores)
        doubtful = next((person for person in people.values() if person.is_uncertain and person.reason), None)
        return replace(verdict, is_uncertain=True, reason=doubtful.reason) if doubtful and not verdict.is_fake else verdict

    def _score_segments(self, scores: Sequence[FrameScore], plan: SegmentPlan, total: int) -> Iterator[ScoredSegment]:
        """The verdict on each person in each segment of a long video."""
        if plan.segments == 1:
            return
        for track, track_scores in group_by_track(scores).items():
            by_segment: dict[int, list[FrameScore]] = {}
            for score in track_scores:
                by_segment.setdefault(plan.segment_of(score.frame, total), []).append(score)
            for number, segment_scores in sorted(by_segment.items()):
                first, last = plan.frames_of(number, total)
                yield ScoredSegment(track, first, last, len(segment_scores), self._verdict(segment_scores))

    def _select_faces(self, frames: dict[int, list[TrackedFace]], plan: SegmentPlan) -> dict[int, list[TrackedFace]]:
        """The faces to score: of those that the stages would crop, evenly spaced ones of each person, as in a test."""
        by_track: dict[int, list[tuple[int, TrackedFace]]] = {}
        for index, faces in select_faces(frames, self.extraction).items():
            for face in faces:
                by_track.setdefault(face.track, []).append((index, face))
        limit = self.frames_requested or max(self.frames_per_person, plan.segments * self.segment_params.frames)
        selected: dict[int, list[TrackedFace]] = {}
        for track in sorted(by_track):
            for position in evenly_spaced(len(by_track[track]), limit):
                index, face = by_track[track][position]
                selected.setdefault(index, []).append(face)
        return selected

    def _crop_faces(
        self, video: OpenVideo, faces: dict[int, list[TrackedFace]], report_progress: ProgressCallback
    ) -> list[CroppedFace]:
        """Crop the faces; sorted by person, then by frame."""
        settings, cropped = self.extraction, []
        for done, (index, frame) in enumerate(video.frames(faces), 1):
            for tracked in faces[index]:
                window = face_window(tracked.face, frame, settings, f"frame {index}")
                crop = as_stored(crop_image(frame, window), settings.format, settings.quality)
                cropped.append(CroppedFace(index, tracked.track, window, crop))
            report_progress("cropping faces", done, len(faces))
        return sorted(cropped, key=lambda face: (face.track, face.frame))

    def examine_crops(self, paths: Sequence[Path]) -> Iterator[CalibratedVerdict | UnreadablePicture | OSError]:
        """For each picture of a face that is cropped already, a verdict, or the error if it cannot be read."""
        for first in range(0, len(paths), CROP_BATCH):
            pictures = [read_or_error(path) for path in paths[first : first + CROP_BATCH]]
            verdicts = iter(self._verdicts_of_crops([picture for picture in pictures if isinstance(picture, np.ndarray)]))
            yield from (next(verdicts) if isinstance(picture, np.ndarray) else picture for picture in pictures)

    def _verdicts_of_crops(self, crops: Sequence[Image]) -> list[CalibratedVerdict]:
        if self.refusal:
            return [no_verdict(self.refusal)] * len(crops)
        probabilities, member_probabilities = self.predictor.predict(crops) if crops else ((), ())
        scores = zip(probabilities, member_probabilities, strict=True)
        return [self._verdict([FrameScore("", 0, 0, "", float(raw), tuple(members))]) for raw, members in scores]

    def _verdict(self, scores: Sequence[FrameScore]) -> CalibratedVerdict:
        """The verdict on frames of one or several people."""
        raw = video_score(scores, self.rule.aggregation)
        if not np.isfinite(raw):
            raise UserError(f"{self.predictor.card.name} gives no finite score for this file; use another checkpoint")
        verdict, reason = self.rule.verdict(raw), None
        if self.rule.is_uncertain(raw):
            reason = "too many validation videos with such a probability were classified wrongly"
        elif self.predictor.members_disagree(scores, verdict == FAKE_VERDICT, self.rule.aggregation):
            reason = "the networks of the ensemble disagree"
        return CalibratedVerdict(verdict, reason is not None, self.rule.calibrated(raw), raw, reason)

    def explain(self, examination: Examination, report_progress: ProgressCallback = ignore_progress) -> People:
        """A heatmap of each face for the verdict on its person; the mean over the networks of an ensemble."""
        people = {track: Person(verdict.verdict, verdict.is_uncertain, []) for track, verdict in examination.people.items()}
        for first in range(0, len(examination.faces), EXPLANATION_BATCH):
            report_progress("computing heatmaps", first, len(examination.faces))
            faces = examination.faces[first : first + EXPLANATION_BATCH]
            crops, called_fake = [face.crop for face in faces], [people[face.score.track].called_fake for face in faces]
            maps = [compute_heatmaps(network, crops, called_fake, DEFAULT) for network in self.predictor.networks.values()]
            for face, *face_maps in zip(faces, *maps, strict=True):
                heat = sum(face_map.evidence_for for face_map in face_maps) / len(face_maps)
                moment = Moment(face.score.frame, face.window, face.crop, heat, face.probability)
                people[face.score.track].moments.append(moment)
        report_progress("computing heatmaps", len(examination.faces), len(examination.faces))
        return people

    def identity(self) -> ModelIdentity:
        """The model, the warning to show with its verdicts, and why it gives none, if it does not."""
        card = self.predictor.card
        return {"model": card.name, "sha256": self.sha256, "warning": card.warning, "refusal": self.refusal}

    def as_record(self) -> ModelRecord:
        card = self.predictor.card
        return {
            "model": card.name,
            "sha256": self.sha256,
            "warning": card.warning,
            "trained_on": card.trained_on,
            "code": card.provenance.get("code"),
            "threshold": self.rule.calibrated(self.rule.threshold),
            "threshold_raw": self.rule.threshold,
            "uncertain_from_to": [self.rule.calibrated(edge) for edge in self.rule.band] if self.rule.band else None,
            "aggregation": AGGREGATIONS[self.rule.aggregation].description,
            "frames_requested": self.frames_requested,
            "frames_per_person": self.frames_per_person,
            "segments": asdict(self.segment_params),
            "demo": self.demo,
            "run_by": ONNXRUNTIME if self.predictor.runners else TORCH,
            "detect_faces": asdict(self.detection.detection_settings()),
            "extract_crops": asdict(self.extraction),
        }
