"""Stage make_portrait_videos: a folder of portraits -> real and fake videos of these people, with true masks.

For whoever has photographs of faces that may be used for it, and no videos. Each portrait is animated, and up to eight
manipulations are made of the same frames. A real video and its fakes are encoded alike. The folders are those of
FaceForensics++ (docs/portraits.md):

    original_sequences/youtube/c23/videos/<id>.mp4
    manipulated_sequences/<Method>/c23/videos/<target>_<source>.mp4
    manipulated_sequences/<Method>/masks/videos/<target>_<source>.mp4
    splits/{train,val,test}.json, portraits.csv, failures.csv

What was made is remembered in `portrait_videos.jsonl` beside them; a run that was interrupted goes on where it was.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import errors
from pipeline.errors import UserError
from pipeline.index import MADE_OF_PORTRAITS
from pipeline.ledger import FAILURE_COLUMNS, Ledger, key_of
from pipeline.outputs import sweep, write_csv, write_json_if_changed
from pipeline.params import PathFlag, read_command_line
from pipeline.progress import track
from pipeline.workers import map_unordered
from preprocessing.corpus.generated_files import GeneratedFiles
from preprocessing.portrait_corpus.plan import SPLITS, Params, Person, Recipe, make_plan, pairs_of, people_with_faces
from preprocessing.portrait_corpus.portraits import Failure, Portrait, detect_task, list_portraits
from preprocessing.portrait_corpus.rendering import render

CODE_VERSION = 1  # of everything that decides a pixel: a new number has all videos made anew
DETECTION_VERSION = 1  # of what is found in a portrait
VIDEOS, FACES = MADE_OF_PORTRAITS, "portrait_faces.jsonl"  # the ledgers
PEOPLE, FAILURES = "portraits.csv", "failures.csv"
COLUMNS = (
    "id",
    "person",
    "source",
    "licence",
    "credit",
    "file",
    "second_file",
    "split",
    "width",
    "height",
    "fps",
    "frames",
    "encodings",
    "crf",  # the worse, of two
    "face_px",  # height
    "skin_ita",  # individual typology angle, degrees: the darker the skin, the lower
)


def make_portrait_videos(out: Path, params: Params) -> None:
    folder, tables = params.folder, (VIDEOS, FACES, PEOPLE, FAILURES, *(f"splits/{split}.json" for split in SPLITS))
    sweep(out / name for name in tables)
    portraits, failures = list_portraits(folder)
    facts = detect_portraits(portraits, out, params)
    failures += [Failure(**{column: one[column] for column in FAILURE_COLUMNS}) for one in facts.values() if "reason" in one]
    people = people_with_faces(portraits, facts)
    report_failures(failures, len(failures) + sum("points" in one for one in facts.values()), out, params)
    recipes = make_plan(people, params)
    make_videos(recipes, out, params)
    for split in SPLITS:
        write_json_if_changed(out / "splits" / f"{split}.json", pairs_of(recipes, split))
    write_csv(out / PEOPLE, COLUMNS, people_rows(recipes, people, params))
    print(summary(recipes, out))


def detect_portraits(portraits: Sequence[Portrait], out: Path, params: Params) -> dict[str, dict[str, Any]]:
    """What the detector says of each portrait, by file; found once for each content."""
    ledger = Ledger(out / FACES)
    keys = {one.file: key_of(DETECTION_VERSION, params.min_face_px, one.content) for one in portraits}
    tasks = [(params.folder, params.min_face_px, one) for one in portraits if not ledger.is_current(one.file, keys[one.file])]
    for portrait, facts in track(map_unordered(detect_task, tasks, params.workers), len(tasks), "detecting", "portraits"):
        ledger.record(portrait.file, keys[portrait.file], **facts)
    ledger.settle(one.file for one in portraits)
    return {one.file: ledger.entries[one.file] for one in portraits}


def report_failures(failures: Sequence[Failure], count: int, out: Path, params: Params) -> None:
    write_csv(out / FAILURES, FAILURE_COLUMNS, sorted((one.as_facts() for one in failures), key=lambda row: row["file"]))
    if not failures:
        return
    first = min(failures, key=lambda one: one.file)
    message = f"{len(failures)} of {count} portraits cannot be used; the first is {first.file}: {first.reason}"
    if len(failures) == count or len(failures) > params.max_failed_fraction * count:
        raise UserError(f"{message}; the others are in {out / FAILURES}. Raise max_failed_fraction to go on without them")
    print(f"{message}; the others are in {out / FAILURES}")


def make_videos(recipes: Sequence[Recipe], out: Path, params: Params) -> None:
    files = {video: files for recipe in recipes for video, files in recipe.videos.items()}
    basis = CODE_VERSION, params.seed, params.frames
    keys = {video: key_of(*basis, *recipe.basis_of(video)) for recipe in recipes for video in recipe.videos}
    made = GeneratedFiles(out, Ledger(out / VIDEOS), keys, files)
    made.sweep()
    wanted = {video: unfinished for video in files if (unfinished := made.unfinished(video))}
    made.claim(wanted)
    tasks = [(recipe, todo, out, params) for recipe in recipes if (todo := _of_recipe(recipe, wanted))]
    for recipe in track(map_unordered(render_task, tasks, params.workers), len(tasks), "rendering", "people"):
        for video in recipe.videos.keys() & wanted.keys():
            made.done(video)
    made.forget_others()


def _of_recipe(recipe: Recipe, wanted: Mapping[str, list[str]]) -> list[str]:
    return [file for video in recipe.videos for file in wanted.get(video, ())]


def render_task(task: tuple[Recipe, list[str], Path, Params]) -> Recipe:
    recipe, wanted, out, params = task
    render(recipe, wanted, params.folder, out, params.seed, params.frames)
    return recipe


def people_rows(recipes: Sequence[Recipe], people: Sequence[Person], params: Params) -> list[dict[str, Any]]:
    by_id = {person.id: person for person in people}
    return [_row(recipe, by_id[recipe.id], params) for recipe in sorted(recipes, key=lambda recipe: recipe.id)]


def _row(recipe: Recipe, person: Person, params: Params) -> dict[str, Any]:
    portrait, last = person.portrait, recipe.encodings[-1]
    known = {name: getattr(portrait, name) for name in ("source", "licence", "credit", "file")}
    second = person.pictures[1].file if len(person.pictures) > 1 else ""
    size = {"width": last.width, "height": last.height, "fps": recipe.framing.frame_rate, "frames": params.frames}
    encodings = ", ".join(encoding.text() for encoding in recipe.encodings)
    face_px = round(recipe.picture.face_height * recipe.framing.scale * last.height / recipe.framing.height)
    lightness, _, yellow = recipe.picture.skin
    of_face = {"face_px": face_px, "skin_ita": round(math.degrees(math.atan2(lightness - 50, max(yellow, 0.0))))}
    of_video = {"second_file": second, "split": recipe.split, **size, "encodings": encodings}
    crf = max(encoding.crf for encoding in recipe.encodings)
    return {"id": recipe.id, "person": person.name, **known, **of_video, "crf": crf, **of_face}


def summary(recipes: Sequence[Recipe], out: Path) -> str:
    fakes = sum(len(recipe.fakes) for recipe in recipes)
    counts = ", ".join(f"{sum(recipe.split == split for recipe in recipes)} {split}" for split in SPLITS)
    return f"{out}: {len(recipes)} real videos (people: {counts}) and {fakes} fakes"


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "make_portrait_videos",
        Params,
        output_path=PathFlag("data/portrait_videos", "folder to write the corpus to"),
    )
    make_portrait_videos(paths.output_path, params)


if __name__ == "__main__":
    errors.run(main)
