"""Face detection in one video: its frames -> face boxes with tracks."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

from explain_deepfakes.preprocessing.faces.boxes import Boxes
from explain_deepfakes.preprocessing.faces.face import Face
from explain_deepfakes.preprocessing.faces.face_detector import DETECTORS, FaceDetector, FaceDetectorSettings
from explain_deepfakes.preprocessing.faces.following import follow_faces
from explain_deepfakes.preprocessing.faces.params import DetectionParams, DetectionSettings
from explain_deepfakes.preprocessing.faces.ray_detector import connect_ray_detector
from explain_deepfakes.preprocessing.faces.tracks import TrackedFace, track_faces
from explain_deepfakes.preprocessing.video.sampling import evenly_spaced
from explain_deepfakes.preprocessing.video.video import REPLACE_FILE, OpenVideo, UnreadableVideo, VideoFacts, shrunk_size


@cache
def load_detector(settings: FaceDetectorSettings, device: str) -> FaceDetector:
    """Load a face detector, once per process."""
    return connect_ray_detector(device) or DETECTORS[settings.detector](settings, device)


def find_boxes(
    video: OpenVideo, name: str, params: DetectionParams, on_frame: Callable[[int], object] = lambda _: None
) -> Boxes:
    """Detect and track the faces of a video.

    Unless every frame is analysed, the decoded frames are kept, so that crops can be made without decoding them again.
    `on_frame` is called after each frame with the number of frames analysed so far.
    """
    detector, facts = load_detector(params.face_detector_settings(), params.device), video.facts
    indices = None if params.every_frame else evenly_spaced(facts.frames_present, params.frames)
    side = longest_side(facts, detector, params)
    width, height = shrunk_size(facts.width, facts.height, side)
    frames = video.frames(indices, side, keep_decoded=not params.every_frame)
    analysed_frames: list[int] = []

    def detections() -> Iterator[tuple[int, list[Face]]]:
        for index, faces in follow_faces(frames, detector, params.follow_settings(params.threads)):
            analysed_frames.append(index)
            on_frame(len(analysed_frames))
            yield index, [to_original_frame(face, facts.width / width, facts.height / height) for face in faces]

    tracked = track_faces(detections(), params.track_settings(facts))
    if not analysed_frames:
        raise UnreadableVideo("no frame of it can be decoded", REPLACE_FILE)
    return Boxes(tracked, name, facts, analysed_frames, params.face_detector_settings().as_record(), video.stats)


def whole_frame_boxes(video: OpenVideo, name: str, params: DetectionParams) -> Boxes:
    """The boxes of a video whose frames are crops of one face: each frame is that face."""
    facts = video.facts
    indices = range(facts.frames_present) if params.every_frame else evenly_spaced(facts.frames_present, params.frames)
    face = TrackedFace(Face((0.0, 0.0, float(facts.width), float(facts.height)), score=1.0), track=0)
    return Boxes({index: [face] for index in indices}, name, facts, list(indices), {"detector": "none"}, video.stats)


def to_original_frame(face: Face, x_scale: float, y_scale: float) -> Face:
    """Scale a face to the original frame. Rounded, so that a box read from a file equals the box returned here."""
    scaled = face.transform(lambda x: round(x * x_scale, 2), lambda y: round(y * y_scale, 2))
    return replace(scaled, score=round(face.score, 4))


def longest_side(facts: VideoFacts, detector: FaceDetector, settings: DetectionSettings) -> int:
    """Longest side of the pictures passed to the detector: no larger than the smallest face requires."""
    side = max(facts.width, facts.height)
    return min(side, settings.scale_to, max(1, round(side * detector.smallest_px / settings.min_face_size)))
