"""Render one person's real video, fakes and masks, all from the same recorded frames."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.outputs import atomic_write
from explain_deepfakes.preprocessing.portrait_corpus.animation import animate
from explain_deepfakes.preprocessing.portrait_corpus.encoding import VideoWriter, mask_encoding
from explain_deepfakes.preprocessing.portrait_corpus.manipulations import (
    METHODS,
    FacePicture,
    Manipulation,
    ManipulationInputs,
    resize_face,
)
from explain_deepfakes.preprocessing.portrait_corpus.plan import FacePortrait, FakePlan, PersonPlan, rng_for
from explain_deepfakes.preprocessing.portrait_corpus.portraits import read_picture


def render(plan: PersonPlan, files: Sequence[str], portraits: Path, out: Path, seed: int, frames: int) -> None:
    """Render and write the given files of the plan."""
    cv2.setNumThreads(1)
    threadpool_limits(1, "blas")  # the files are rendered in parallel, and threads of OpenBLAS were seen to hang
    last = plan.encodings[-1]
    with ExitStack() as stack:
        writers = {}
        for name in files:
            is_mask = "/masks/" in name
            chain = (mask_encoding(last.width, last.height),) if is_mask else plan.encodings
            writers[name] = VideoWriter(stack.enter_context(atomic_write(out / name)), chain, plan.framing.frame_rate)
        for pictures in render_frames(plan, files, portraits, seed, frames):
            for name, picture in pictures.items():
                writers[name].write(picture)
        for writer in writers.values():
            writer.finish()


def render_frames(
    plan: PersonPlan, files: Sequence[str], portraits: Path, seed: int, frames: int
) -> Iterator[dict[str, NDArray[np.uint8]]]:
    """Yield the pictures of the given videos by file name, frame by frame, before they are encoded."""
    still = resize_face(load_face(portraits, plan.picture), plan.framing.scale)
    fakes = [fake for fake in plan.fakes if {plan.fake(fake), plan.fake(fake, "masks")} & set(files)]
    manipulations = [(fake, start_manipulation(plan, fake, still, portraits, seed, frames)) for fake in fakes]
    for recorded in animate(still.picture, still.alignment, plan.framing, frames, rng_for(seed, plan.id, "animation")):
        pictures = {plan.original: recorded.frame}
        for fake, manipulation in manipulations:
            pictures[plan.fake(fake)], mask = manipulation.apply(recorded)
            pictures[plan.fake(fake, "masks")] = mask.astype(np.uint8) * 255
        yield {name: pictures[name] for name in files}


def start_manipulation(
    plan: PersonPlan, fake: FakePlan, still: FacePicture, portraits: Path, seed: int, frames: int
) -> Manipulation:
    donor = load_face(portraits, fake.donor) if fake.donor else None
    rng = rng_for(seed, plan.id, f"fake {fake.method}")
    inputs = ManipulationInputs(still, donor, np.arange(frames) / plan.framing.frame_rate, float(rng.uniform(0.5, 3.0)))
    return METHODS[fake.method](inputs, rng)


def load_face(portraits: Path, picture: FacePortrait) -> FacePicture:
    pixels = read_picture(portraits / picture.file)
    if pixels is None:
        raise UserError(f"{portraits / picture.file} has become unreadable; restore the file, and run the command again")
    return FacePicture(pixels.astype(np.float32), picture.alignment)
