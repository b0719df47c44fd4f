"""Render the demo corpus: its plan, and each person's original video and fakes."""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from explain_deepfakes.pipeline.index import DEMO_LEDGER as LEDGER
from explain_deepfakes.pipeline.ledger import Ledger, key_of
from explain_deepfakes.pipeline.outputs import atomic_write, remove_leftovers, write_json_if_changed
from explain_deepfakes.pipeline.progress import track
from explain_deepfakes.pipeline.workers import map_unordered
from explain_deepfakes.preprocessing.corpus.generated_files import GeneratedFiles
from explain_deepfakes.preprocessing.demo_corpus.manipulations import (
    METHODS,
    FaceManipulator,
    TargetFrame,
    region_for,
    swap_face,
)
from explain_deepfakes.preprocessing.demo_corpus.params import DemoVideoParams
from explain_deepfakes.preprocessing.demo_corpus.people import DrawnPerson, Performance, Pose, sample_performance, sample_person
from explain_deepfakes.preprocessing.demo_corpus.portraits import DrawnFrame, draw_backdrop, draw_frame, make_body
from explain_deepfakes.preprocessing.demo_corpus.scenery import Scene, Sensor, sample_scene, shake_path

CODE_VERSION = 1  # increased when the code changes any pixel, so that the corpus is rendered again
SPLITS = ("train", "val", "test")

# Hard cases for detectors, by position in the split: a bystander who is never manipulated; and a face that leaves the picture
# for the last third. In addition to the counted identities, the test set has two empty scenes, without people or fakes.
HARD_CASES = {
    "bystander": {"train": (4, 19, 33), "val": (2,), "test": (1, 12)},
    "leaves": {"train": (11, 28), "val": (7,), "test": (2, 17)},
}
EMPTY_SCENES = 2


@dataclass(frozen=True)
class DemoSequence:
    """An original video and its fakes, if it has a partner for face swaps."""

    name: str
    identity: int
    source: int | None
    case: str = ""

    @property
    def original(self) -> str:
        return f"original_sequences/youtube/c23/videos/{self.name}.mp4"

    def fake(self, method: str, kind: str = "c23") -> str:
        return f"manipulated_sequences/{method}/{kind}/videos/{self.name}_{self.source:03d}.mp4"

    @property
    def files(self) -> list[str]:
        methods = METHODS if self.source is not None else ()
        return [self.original, *(self.fake(method, kind) for method in methods for kind in ("c23", "masks"))]


def plan_corpus(params: DemoVideoParams) -> tuple[list[DemoSequence], dict[str, list[list[str]]]]:
    """Return all sequences, and the pairs of names in each split, which swap faces with each other."""
    sequences: list[DemoSequence] = []
    splits: dict[str, list[list[str]]] = {}
    for split in SPLITS:
        begin, count = len(sequences), getattr(params, f"{split}_identities")
        cases = {position: case for case, positions in HARD_CASES.items() for position in positions[split]}
        for position in range(count):
            identity, partner = begin + position, begin + (position ^ 1)
            sequences.append(DemoSequence(f"{identity:03d}", identity, partner, cases.get(position, "")))
        empty = EMPTY_SCENES if split == "test" and count else 0
        sequences += [DemoSequence(f"{begin + count + i:03d}", begin + count + i, None, "empty") for i in range(empty)]
        names = [sequence.name for sequence in sequences[begin:]]
        splits[split] = [[first, second] for first, second in zip(names[::2], names[1::2], strict=True)]
    return sequences, splits


@dataclass(frozen=True)
class Actor:
    """A drawn person, with their movements and their scene."""

    person: DrawnPerson
    scene: Scene
    performance: Performance


def sample_actor(identity: int, case: str, params: DemoVideoParams) -> Actor:
    rng = np.random.default_rng([params.seed, identity, 0])
    person = sample_person(rng)
    scene = sample_scene(rng, params.height, params.width)
    unit_px = params.height * rng.uniform(0.285, 0.335)
    offset = rng.uniform(-0.08, 0.08) if case != "bystander" else 0.13 * rng.choice((-1, 1))
    middle = params.width * (0.5 + offset), params.height * 0.43
    performance = sample_performance(rng, params.frames, params.fps, middle, unit_px)
    return Actor(person, scene, walk_out(performance, params.width) if case == "leaves" else performance)


def walk_out(performance: Performance, width: int) -> Performance:
    """Move the person out of the picture on the nearer side; they are gone after two thirds of the video."""
    count = len(performance.poses)
    side = 1 if performance.poses[0].x > width / 2 else -1
    offsets = np.clip((np.arange(count) / count - 0.35) / 0.3, 0, 1) ** 2
    poses = [
        dataclasses.replace(pose, x=pose.x + side * float(offset) * width)
        for pose, offset in zip(performance.poses, offsets, strict=True)
    ]
    return Performance(poses, performance.expressions)


def sample_bystander(identity: int, main_actor: Actor, params: DemoVideoParams) -> Actor:
    """Return a person further away, on the free side of the main person."""
    rng = np.random.default_rng([params.seed, identity, 1])
    position = 0.84 if main_actor.performance.poses[0].x < params.width / 2 else 0.16
    middle = params.width * position, params.height * rng.uniform(0.42, 0.5)
    performance = sample_performance(rng, params.frames, params.fps, middle, params.height * rng.uniform(0.16, 0.18))
    return Actor(sample_person(rng), main_actor.scene, performance)


def record_frames(
    actor: Actor, others: list[Actor], empty: bool, frames: int
) -> Iterator[tuple[DrawnFrame | None, np.ndarray]]:
    """Yield the drawn frames of the main person (None in an empty scene), and the frames that the camera records."""
    scene = actor.scene
    actors = [] if empty else [*others, actor]
    bodies = [make_body(each.person, each.performance.poses[0], scene) for each in actors]
    sensor = Sensor(scene.camera, scene.height, scene.width)
    for index, shake in enumerate(shake_path(scene.camera, frames)):
        picture = draw_backdrop(scene, (float(shake[0]), float(shake[1])))
        drawn = None
        for each, body in zip(actors, bodies, strict=True):
            pose = shift_pose(each.performance.poses[index], shake)
            drawn = draw_frame(picture, body, pose, each.performance.expressions[index], scene.light)
        yield drawn, sensor.record(picture)


def shift_pose(pose: Pose, shake: np.ndarray) -> Pose:
    return dataclasses.replace(pose, x=pose.x + float(shake[0]), y=pose.y + float(shake[1]))


class VideoEncoder:
    """An H.264 encoder with the same options for all videos: real and fake may only differ in their pixels."""

    def __init__(self, path: Path, params: DemoVideoParams, stack: ExitStack) -> None:
        self.container = stack.enter_context(av.open(str(path), "w", format="mp4"))
        self.stream = self.container.add_stream("libx264", rate=Fraction(params.fps).limit_denominator(1000))
        self.stream.width, self.stream.height, self.stream.pix_fmt = params.width, params.height, "yuv420p"
        self.stream.options = {"crf": str(params.crf), "preset": "superfast", "threads": "1"}

    def write(self, picture: np.ndarray) -> None:
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24" if picture.ndim == 3 else "gray")
        self.container.mux(self.stream.encode(frame))

    def finish(self) -> None:
        self.container.mux(self.stream.encode())
        self.container.close()


def make_sequence(sequence: DemoSequence, files: list[str], out: Path, params: DemoVideoParams) -> None:
    """Draw a sequence once, and write these files of it: original and fakes are made from the same recorded frames."""
    cv2.setNumThreads(1)
    actor = sample_actor(sequence.identity, sequence.case, params)
    others = [sample_bystander(sequence.identity, actor, params)] if sequence.case == "bystander" else []
    frames = record_frames(actor, others, sequence.case == "empty", params.frames)
    with ExitStack() as stack:
        paths = {name: stack.enter_context(atomic_write(out / name)) for name in files}
        encoders = {name: VideoEncoder(path, params, stack) for name, path in paths.items()}
        for pictures in render_frames(sequence, actor, frames, params):
            for name, encoder in encoders.items():
                encoder.write(pictures[name])
        for encoder in encoders.values():
            encoder.finish()


def render_frames(
    sequence: DemoSequence, actor: Actor, frames: Iterator[tuple[DrawnFrame | None, np.ndarray]], params: DemoVideoParams
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the frames of all videos of a sequence by file name."""
    if sequence.source is None:
        yield from ({sequence.original: recorded} for _, recorded in frames)
        return
    source = sample_actor(sequence.source, "", params)
    swapped = swap_face(actor.person, source.person)
    manipulators = [make_manipulator(sequence.identity, number, actor, params) for number in range(len(METHODS))]
    for index, (drawn, recorded) in enumerate(frames):
        assert drawn, "only empty scenes have no drawn person, and they have no fakes"
        pictures = {sequence.original: recorded}
        target = TargetFrame(drawn, recorded, swapped, source.performance.expressions[index])
        for manipulator in manipulators:
            fake, mask = manipulator.apply(target)
            pictures[sequence.fake(manipulator.method)] = fake
            pictures[sequence.fake(manipulator.method, "masks")] = mask.astype(np.uint8) * 255
        yield pictures


def make_manipulator(identity: int, number: int, actor: Actor, params: DemoVideoParams) -> FaceManipulator:
    rng = np.random.default_rng([params.seed, identity, 2, number])
    region = region_for(METHODS[number], identity + 3 * number)
    return FaceManipulator(METHODS[number], region, actor.scene.camera, params.height, params.strength, rng)


def make_task(task: tuple[DemoSequence, list[str], Path, DemoVideoParams]) -> DemoSequence:
    make_sequence(*task)
    return task[0]


def make_demo_videos(out: Path, params: DemoVideoParams) -> None:
    sequences, splits = plan_corpus(params)
    remove_leftovers(out / name for name in (LEDGER, *(f"splits/{split}.json" for split in SPLITS)))
    keys = {sequence.name: sequence_key(sequence, params) for sequence in sequences}
    files_by_name = {sequence.name: sequence.files for sequence in sequences}
    generated = GeneratedFiles(out, Ledger(out / LEDGER), keys, files_by_name)
    generated.remove_leftovers()
    unfinished = {name: files for name in files_by_name if (files := generated.unfinished(name))}
    generated.claim(unfinished)
    tasks = [(sequence, unfinished[sequence.name], out, params) for sequence in sequences if sequence.name in unfinished]
    for sequence in track(map_unordered(make_task, tasks, params.workers), len(tasks), "rendering", "people"):
        generated.finish(sequence.name)
    for split, pairs in splits.items():
        write_json_if_changed(out / "splits" / f"{split}.json", pairs)
    generated.remove_others()


def sequence_key(sequence: DemoSequence, params: DemoVideoParams) -> str:
    settings = dataclasses.asdict(params)
    for name in ("workers", "train_identities", "val_identities", "test_identities"):
        settings.pop(name)  # do not change the pixels of a sequence
    return key_of(CODE_VERSION, settings, dataclasses.asdict(sequence))
