"""Stage make_demo_videos: nothing -> a drawn deepfake corpus in the folder layout of FaceForensics++.

For whoever has no data: portraits of people who do not exist, moving, talking and filmed with noise, and five fakes of
each with the truth of what was changed. Real and fake go the same way: drawn, recorded, (manipulated,) encoded.

    original_sequences/youtube/c23/videos/<id>.mp4
    manipulated_sequences/<Method>/c23/videos/<target>_<source>.mp4
    manipulated_sequences/<Method>/masks/videos/<target>_<source>.mp4
    splits/{train,val,test}.json

What it made is remembered in `demo_videos.jsonl` beside them. Videos of one's own may be added; they are left alone.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from pipeline import errors
from pipeline.errors import UserError
from pipeline.index import DRAWN_BY_US as LEDGER
from pipeline.ledger import Ledger, key_of
from pipeline.outputs import atomic_write, sweep, write_json_if_changed
from pipeline.params import PathFlag, read_command_line, setting
from pipeline.progress import track
from pipeline.workers import map_unordered
from preprocessing.corpus.generated_files import GeneratedFiles
from preprocessing.demo_corpus.manipulations import METHODS, Forgery, Shot, part_for, wearing_face_of
from preprocessing.demo_corpus.people import Performance, Person, Pose, act, draw_person
from preprocessing.demo_corpus.portraits import draw_backdrop, draw_take, place_figure
from preprocessing.demo_corpus.scenery import Recorder, Scene, pick_scene, shake_path

CODE_VERSION = 1  # of everything that decides a pixel: a new number has the corpus drawn anew
SPLITS = ("train", "val", "test")

# What detectors stumble over, by place in the split: someone else in the picture who is never manipulated; a face that
# leaves the picture for the last third; and, beyond the counted identities, two rooms without anybody or a fake.
HARD_CASES = {
    "bystander": {"train": (4, 19, 33), "val": (2,), "test": (1, 12)},
    "leaves": {"train": (11, 28), "val": (7,), "test": (2, 17)},
}
EMPTY_ROOMS = 2


@dataclass(frozen=True)
class Params:
    seed: int = setting("every random number follows from it", low=0)
    train_identities: int = setting("people to train on; an even number, since people swap faces in pairs", low=0)
    val_identities: int = setting("people to validate on", low=0)
    test_identities: int = setting("people to test on; two empty rooms join them", low=0)
    frames: int = setting("length of every video", low=1)
    fps: float = setting("frames a second", low=1)
    height: int = setting("of the picture, in pixels; even", low=96)
    width: int = setting("of the picture, in pixels; even", low=96)
    crf: int = setting("quality of the H.264 encoding; less is better and larger", low=0, high=51)
    strength: float = setting("how plain the manipulations' traces are", low=0)
    workers: int = setting("processes that draw", low=1)

    def __post_init__(self) -> None:
        for name in ("train_identities", "val_identities", "test_identities", "height", "width"):
            if getattr(self, name) % 2:
                raise UserError(f"make_demo_videos.{name} is {getattr(self, name)}; it must be even")


@dataclass(frozen=True)
class Sequence:
    """One original and, where it has a partner to swap with, its fakes."""

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


def plan(params: Params) -> tuple[list[Sequence], dict[str, list[list[str]]]]:
    """All sequences, and the splits as pairs of names; the two of a pair lend each other their faces."""
    sequences: list[Sequence] = []
    splits: dict[str, list[list[str]]] = {}
    for split in SPLITS:
        begin, count = len(sequences), getattr(params, f"{split}_identities")
        cases = {place: case for case, places in HARD_CASES.items() for place in places[split]}
        for place in range(count):
            identity = begin + place
            sequences.append(Sequence(f"{identity:03d}", identity, begin + (place ^ 1), cases.get(place, "")))
        empty = EMPTY_ROOMS if split == "test" and count else 0
        sequences += [Sequence(f"{begin + count + i:03d}", begin + count + i, None, "empty") for i in range(empty)]
        names = [sequence.name for sequence in sequences[begin:]]
        splits[split] = [[a, b] for a, b in zip(names[::2], names[1::2], strict=True)]
    return sequences, splits


@dataclass(frozen=True)
class Cast:
    """Someone and all they do before the camera of their video."""

    person: Person
    scene: Scene
    performance: Performance


def cast_identity(identity: int, case: str, params: Params) -> Cast:
    rng = np.random.default_rng([params.seed, identity, 0])
    person = draw_person(rng)
    scene = pick_scene(rng, params.height, params.width)
    unit_px = params.height * rng.uniform(0.285, 0.335)
    aside_of_middle = rng.uniform(-0.08, 0.08) if case != "bystander" else 0.13 * rng.choice((-1, 1))
    middle = params.width * (0.5 + aside_of_middle), params.height * 0.43
    performance = act(rng, params.frames, params.fps, middle, unit_px)
    return Cast(person, scene, walk_out(performance, params.width) if case == "leaves" else performance)


def walk_out(performance: Performance, width: int) -> Performance:
    """Out of the picture on the nearer side, gone by two thirds."""
    count = len(performance.poses)
    side = 1 if performance.poses[0].x > width / 2 else -1
    progress = np.clip((np.arange(count) / count - 0.35) / 0.3, 0, 1) ** 2
    poses = [
        dataclasses.replace(pose, x=pose.x + side * float(share) * width)
        for pose, share in zip(performance.poses, progress, strict=True)
    ]
    return Performance(poses, performance.expressions)


def cast_bystander(identity: int, main: Cast, params: Params) -> Cast:
    """Someone further away, on the side that is free."""
    rng = np.random.default_rng([params.seed, identity, 1])
    away = 0.84 if main.performance.poses[0].x < params.width / 2 else 0.16
    middle = params.width * away, params.height * rng.uniform(0.42, 0.5)
    performance = act(rng, params.frames, params.fps, middle, params.height * rng.uniform(0.16, 0.18))
    return Cast(draw_person(rng), main.scene, performance)


def film(cast: Cast, others: list[Cast], empty: bool, frames: int) -> Iterator[tuple]:
    """The takes of the main person (None in an empty room), with the frame as the camera recorded it."""
    scene = cast.scene
    people = [] if empty else [*others, cast]
    figures = [place_figure(one.person, one.performance.poses[0], scene) for one in people]
    recorder = Recorder(scene.camera, scene.height, scene.width)
    for index, shake in enumerate(shake_path(scene.camera, frames)):
        picture = draw_backdrop(scene, (float(shake[0]), float(shake[1])))
        take = None
        for one, figure in zip(people, figures, strict=True):
            pose = shaken(one.performance.poses[index], shake)
            take = draw_take(picture, figure, pose, one.performance.expressions[index], scene.light)
        yield take, recorder.record(picture)


def shaken(pose: Pose, shake: np.ndarray) -> Pose:
    return dataclasses.replace(pose, x=pose.x + float(shake[0]), y=pose.y + float(shake[1]))


class Encoder:
    """H.264 with the same options for every video: nothing but the pixels may differ between real and fake."""

    def __init__(self, path: Path, params: Params, stack: ExitStack) -> None:
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


def make_sequence(sequence: Sequence, wanted: list[str], out: Path, params: Params) -> None:
    """Draws the sequence once; its original and its fakes are all made from the same recorded frames."""
    cv2.setNumThreads(1)
    cast = cast_identity(sequence.identity, sequence.case, params)
    others = [cast_bystander(sequence.identity, cast, params)] if sequence.case == "bystander" else []
    takes = film(cast, others, sequence.case == "empty", params.frames)
    with ExitStack() as stack:
        paths = {name: stack.enter_context(atomic_write(out / name)) for name in wanted}
        encoders = {name: Encoder(path, params, stack) for name, path in paths.items()}
        for pictures in paint_all(sequence, cast, takes, params):
            for name, encoder in encoders.items():
                encoder.write(pictures[name])
        for encoder in encoders.values():
            encoder.finish()


def paint_all(sequence: Sequence, cast: Cast, takes: Iterator[tuple], params: Params) -> Iterator[dict[str, np.ndarray]]:
    """For each moment, the frames of all videos of the sequence by file name."""
    if sequence.source is None:
        yield from ({sequence.original: recorded} for _, recorded in takes)
        return
    source = cast_identity(sequence.source, "", params)
    swapped = wearing_face_of(cast.person, source.person)
    forgeries = [forge(sequence.identity, number, cast, params) for number in range(len(METHODS))]
    for index, (take, recorded) in enumerate(takes):
        pictures = {sequence.original: recorded}
        shot = Shot(take, recorded, swapped, source.performance.expressions[index])
        for forgery in forgeries:
            fake, mask = forgery.apply(shot)
            pictures[sequence.fake(forgery.method)] = fake
            pictures[sequence.fake(forgery.method, "masks")] = mask.astype(np.uint8) * 255
        yield pictures


def forge(identity: int, number: int, cast: Cast, params: Params) -> Forgery:
    rng = np.random.default_rng([params.seed, identity, 2, number])
    part = part_for(METHODS[number], identity + 3 * number)
    return Forgery(METHODS[number], part, cast.scene.camera, params.height, params.strength, rng)


def make_task(task: tuple[Sequence, list[str], Path, Params]) -> Sequence:
    make_sequence(*task)
    return task[0]


def make_demo_videos(out: Path, params: Params) -> None:
    sequences, splits = plan(params)
    sweep(out / name for name in (LEDGER, *(f"splits/{split}.json" for split in SPLITS)))
    keys = {sequence.name: sequence_key(sequence, params) for sequence in sequences}
    made = GeneratedFiles(out, Ledger(out / LEDGER), keys, {sequence.name: sequence.files for sequence in sequences})
    made.sweep()
    wanted = {sequence.name: unfinished for sequence in sequences if (unfinished := made.unfinished(sequence.name))}
    made.claim(wanted)
    tasks = [(sequence, wanted[sequence.name], out, params) for sequence in sequences if sequence.name in wanted]
    for sequence in track(map_unordered(make_task, tasks, params.workers), len(tasks), "drawing", "people"):
        made.done(sequence.name)
    for split, pairs in splits.items():
        write_json_if_changed(out / "splits" / f"{split}.json", pairs)
    made.forget_others()


def sequence_key(sequence: Sequence, params: Params) -> str:
    settings = dataclasses.asdict(params)
    for name in ("workers", "train_identities", "val_identities", "test_identities"):
        settings.pop(name)  # they decide which sequences there are, not how one looks
    return key_of(CODE_VERSION, settings, dataclasses.asdict(sequence))


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "make_demo_videos",
        Params,
        output_path=PathFlag("data/videos", "folder to write the corpus to"),
    )
    make_demo_videos(paths.output_path, params)


if __name__ == "__main__":
    errors.run(main)
