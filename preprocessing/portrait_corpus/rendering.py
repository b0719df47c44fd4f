"""One person's recipe -> the real video, its fakes and their masks, all of the same recorded frames."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.outputs import atomic_write
from preprocessing.portrait_corpus.animation import animate
from preprocessing.portrait_corpus.encoding import VideoWriter, mask_encoding
from preprocessing.portrait_corpus.manipulations import METHODS, Face, Manipulation, Setting, resized
from preprocessing.portrait_corpus.plan import Fake, Picture, Recipe, rng_for
from preprocessing.portrait_corpus.portraits import read_picture


def render(recipe: Recipe, wanted: Sequence[str], portraits: Path, out: Path, seed: int, frames: int) -> None:
    """Makes those of the recipe's files that are wanted."""
    cv2.setNumThreads(1)
    last = recipe.encodings[-1]
    with ExitStack() as stack:
        writers = {}
        for name in wanted:
            is_mask = "/masks/" in name
            chain = (mask_encoding(last.width, last.height),) if is_mask else recipe.encodings
            writers[name] = VideoWriter(stack.enter_context(atomic_write(out / name)), chain, recipe.framing.frame_rate)
        for pictures in render_frames(recipe, wanted, portraits, seed, frames):
            for name, picture in pictures.items():
                writers[name].write(picture)
        for writer in writers.values():
            writer.finish()


def render_frames(
    recipe: Recipe, wanted: Sequence[str], portraits: Path, seed: int, frames: int
) -> Iterator[dict[str, NDArray[np.uint8]]]:
    """For each moment, the frames of the wanted videos by file name, before they are encoded."""
    still = resized(load_face(portraits, recipe.picture), recipe.framing.scale)
    fakes = [fake for fake in recipe.fakes if {recipe.fake(fake), recipe.fake(fake, "masks")} & set(wanted)]
    made = [(fake, start_fake(recipe, fake, still, portraits, seed, frames)) for fake in fakes]
    for moment in animate(still.picture, still.frame, recipe.framing, frames, rng_for(seed, recipe.id, "animation")):
        pictures = {recipe.original: moment.frame}
        for fake, manipulation in made:
            pictures[recipe.fake(fake)], mask = manipulation.apply(moment)
            pictures[recipe.fake(fake, "masks")] = mask.astype(np.uint8) * 255
        yield {name: pictures[name] for name in wanted}


def start_fake(recipe: Recipe, fake: Fake, still: Face, portraits: Path, seed: int, frames: int) -> Manipulation:
    donor = load_face(portraits, fake.donor) if fake.donor else None
    rng = rng_for(seed, recipe.id, f"fake {fake.method}")
    setting = Setting(still, donor, np.arange(frames) / recipe.framing.frame_rate, float(rng.uniform(0.5, 3.0)))
    return METHODS[fake.method](setting, rng)


def load_face(portraits: Path, picture: Picture) -> Face:
    pixels = read_picture(portraits / picture.file)
    if pixels is None:
        raise UserError(f"{portraits / picture.file} could be read before and cannot any more; put it back, and run again")
    return Face(pixels.astype(np.float32), picture.frame)
