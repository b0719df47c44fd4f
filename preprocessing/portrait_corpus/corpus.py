"""Make the portrait corpus: detect the faces of the portraits, and render real and fake videos of the people."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import PORTRAIT_LEDGER
from explain_deepfakes.pipeline.ledger import FAILURE_COLUMNS, Entry, Ledger, key_of
from explain_deepfakes.pipeline.outputs import remove_leftovers, write_csv, write_json_if_changed
from explain_deepfakes.pipeline.progress import track
from explain_deepfakes.pipeline.workers import map_unordered
from explain_deepfakes.preprocessing.corpus.generated_files import GeneratedFiles
from explain_deepfakes.preprocessing.portrait_corpus.params import PortraitVideoParams
from explain_deepfakes.preprocessing.portrait_corpus.plan import (
    SPLITS,
    PersonPlan,
    Subject,
    pair_people,
    people_with_faces,
    plan_corpus,
)
from explain_deepfakes.preprocessing.portrait_corpus.portraits import Portrait, UnusablePortrait, detect_task, list_portraits
from explain_deepfakes.preprocessing.portrait_corpus.rendering import render

CODE_VERSION = 1  # increased when the code changes any pixel, so that all videos are rendered again
DETECTION_VERSION = 1  # the same for the face detection in portraits
VIDEOS, FACES = PORTRAIT_LEDGER, "portrait_faces.jsonl"  # ledgers
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
    "crf",  # the higher of two
    "face_px",  # height
    "skin_ita",  # individual typology angle, degrees: the darker the skin, the lower
)


def make_portrait_videos(out: Path, params: PortraitVideoParams) -> None:
    folder, tables = params.folder, (VIDEOS, FACES, PEOPLE, FAILURES, *(f"splits/{split}.json" for split in SPLITS))
    remove_leftovers(out / name for name in tables)
    portraits, failures = list_portraits(folder)
    facts = detect_portraits(portraits, out, params)
    failures += [
        UnusablePortrait(entry["file"], entry["reason"], entry["remedy"]) for entry in facts.values() if "reason" in entry
    ]
    people = people_with_faces(portraits, facts)
    usable = sum("points" in entry for entry in facts.values())
    report_failures(failures, len(failures) + usable, out, params)
    plans = plan_corpus(people, params)
    make_videos(plans, out, params)
    for split in SPLITS:
        write_json_if_changed(out / "splits" / f"{split}.json", pair_people(plans, split))
    write_csv(out / PEOPLE, COLUMNS, people_rows(plans, people, params))
    print(summary_line(plans, out))


def detect_portraits(portraits: Sequence[Portrait], out: Path, params: PortraitVideoParams) -> dict[str, Entry]:
    """Return the ledger entries of the portraits by file. A portrait is processed again only if its content changes."""
    ledger = Ledger(out / FACES)
    keys = {portrait.file: key_of(DETECTION_VERSION, params.min_face_px, portrait.content) for portrait in portraits}
    stale = [portrait for portrait in portraits if not ledger.is_current(portrait.file, keys[portrait.file])]
    tasks = [(params.folder, params.min_face_px, portrait) for portrait in stale]
    for portrait, facts in track(map_unordered(detect_task, tasks, params.workers), len(tasks), "detecting", "portraits"):
        ledger.record(portrait.file, keys[portrait.file], **facts)
    ledger.compact(portrait.file for portrait in portraits)
    return {portrait.file: ledger.entries[portrait.file] for portrait in portraits}


def report_failures(failures: Sequence[UnusablePortrait], count: int, out: Path, params: PortraitVideoParams) -> None:
    failures = sorted(failures, key=lambda failure: failure.file)
    write_csv(out / FAILURES, FAILURE_COLUMNS, [failure.as_facts() for failure in failures])
    if not failures:
        return
    first = failures[0]
    message = f"{len(failures)} of {count} portraits cannot be used; the first is {first.file}: {first.reason}"
    if len(failures) == count or len(failures) > params.max_failed_fraction * count:
        raise UserError(f"{message}; the others are in {out / FAILURES}. Increase max_failed_fraction to continue without them")
    print(f"{message}; the others are in {out / FAILURES}")


def make_videos(plans: Sequence[PersonPlan], out: Path, params: PortraitVideoParams) -> None:
    files = {video: files for plan in plans for video, files in plan.videos.items()}
    common = CODE_VERSION, params.seed, params.frames
    keys = {video: key_of(*common, *plan.key_inputs(video)) for plan in plans for video in plan.videos}
    generated = GeneratedFiles(out, Ledger(out / VIDEOS), keys, files)
    generated.remove_leftovers()
    unfinished = {video: missing for video in files if (missing := generated.unfinished(video))}
    generated.claim(unfinished)
    tasks = [(plan, missing, out, params) for plan in plans if (missing := _files_of_plan(plan, unfinished))]
    for plan in track(map_unordered(render_task, tasks, params.workers), len(tasks), "rendering", "people"):
        for video in plan.videos.keys() & unfinished.keys():
            generated.finish(video)
    generated.remove_others()


def _files_of_plan(plan: PersonPlan, unfinished: Mapping[str, list[str]]) -> list[str]:
    return [file for video in plan.videos for file in unfinished.get(video, ())]


def render_task(task: tuple[PersonPlan, list[str], Path, PortraitVideoParams]) -> PersonPlan:
    plan, files, out, params = task
    render(plan, files, params.folder, out, params.seed, params.frames)
    return plan


def people_rows(plans: Sequence[PersonPlan], people: Sequence[Subject], params: PortraitVideoParams) -> list[dict[str, object]]:
    by_id = {person.id: person for person in people}
    return [_row(plan, by_id[plan.id], params) for plan in sorted(plans, key=lambda plan: plan.id)]


def _row(plan: PersonPlan, person: Subject, params: PortraitVideoParams) -> dict[str, object]:
    portrait, last = person.portrait, plan.encodings[-1]
    provenance = {name: getattr(portrait, name) for name in ("source", "licence", "credit", "file")}
    second = person.pictures[1].file if len(person.pictures) > 1 else ""
    size = {"width": last.width, "height": last.height, "fps": plan.framing.frame_rate, "frames": params.frames}
    encodings = ", ".join(encoding.text() for encoding in plan.encodings)
    face_px = round(plan.picture.face_height * plan.framing.scale * last.height / plan.framing.height)
    lightness, _, yellow = plan.picture.skin
    of_face = {"face_px": face_px, "skin_ita": round(math.degrees(math.atan2(lightness - 50, max(yellow, 0.0))))}
    of_video = {"second_file": second, "split": plan.split, **size, "encodings": encodings}
    crf = max(encoding.crf for encoding in plan.encodings)
    return {"id": plan.id, "person": person.name, **provenance, **of_video, "crf": crf, **of_face}


def summary_line(plans: Sequence[PersonPlan], out: Path) -> str:
    fakes = sum(len(plan.fakes) for plan in plans)
    counts = ", ".join(f"{sum(plan.split == split for plan in plans)} {split}" for split in SPLITS)
    return f"{out}: {len(plans)} real videos (people: {counts}) and {fakes} fakes"
