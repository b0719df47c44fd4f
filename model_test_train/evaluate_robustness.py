"""What verdicts are worth after what pictures and videos go through, and against somebody who changes pixels on purpose.

    python model_test_train/evaluate_robustness.py                      # everything, then table and curves
    python model_test_train/evaluate_robustness.py --kind jpeg,messenger,pgd

On crops: noise, blur, JPEG, light, resizing, each in five severities. On videos, before faces are looked for: encoders,
sizes, frame rates and a messenger's chain; the videos in which no face is found any more are shown apart. On what the network
sees: FGSM and PGD. Results are kept by kind in results/robustness; `--table` draws what is there.
"""

import csv
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_test_train.evaluation.attacks import ATTACKS
from model_test_train.evaluation.corruptions import CORRUPTIONS
from model_test_train.evaluation.testing import (
    Params,
    disagreement,
    labelled_videos,
    metrics_of,
    protocol,
    rule_of,
    samples_of,
    score_frames,
)
from model_test_train.metrics.drawing import plt, save_figure
from model_test_train.metrics.verdicts import NO_VERDICT, Rule, video_verdicts
from model_test_train.networks.checkpoint import Checkpoint, load_checkpoint
from model_test_train.networks.network import Network
from model_test_train.networks.scoring import fake_probabilities, side_by_side
from model_test_train.training.data import Samples
from pipeline.commands import run_command
from pipeline.errors import UserError, run
from pipeline.index import Video, read_index, write_index
from pipeline.ledger import content_hash
from pipeline.outputs import remove, write_csv, write_json
from pipeline.params import PathFlag, SwitchFlag, TextFlag, load_params, read_command_line
from pipeline.progress import track
from pipeline.project import from_root, relative
from pipeline.reproducible import choose_device, seed_everything
from preprocessing.corpus.folders import CROPS_FLAGS, claim, index_for
from preprocessing.crops.stores import read_crop
from preprocessing.video.reencoding import ENCODING_CHAINS, EncodingChain, reencode
from preprocessing.video.video import Reading, UnreadableVideo

COLUMNS = ("kind", "severity", "setting", "videos", "lost", "auc", "low", "high", "balanced_accuracy", "attack_success")
BUDGETS = (1, 2, 4, 8, 16)  # grey levels of 255
CLEAN = "clean"
KINDS = (CLEAN, *CORRUPTIONS, *ENCODING_CHAINS, *ATTACKS)
SIDE_BY_SIDE = 2  # videos that are encoded side by side
Row = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """The network that is put to the test, and the videos that it is tested on."""

    network: Network
    checkpoint: Checkpoint
    rule: Rule
    videos: list[Video]
    samples: Samples
    params: Params


def rows_of(kind: str, subject: Subject, data: Path) -> Iterator[Row]:
    if kind == CLEAN:
        yield row_of(subject, kind, 0, "as it is", subject.samples)
    elif kind in CORRUPTIONS:
        corruption = CORRUPTIONS[kind]
        for severity, step in enumerate(corruption.steps, 1):
            change = partial(_corrupted, kind, step, subject.params.seed)
            yield row_of(subject, kind, severity, f"{step:g} {corruption.words}", subject.samples, change)
    elif kind in ENCODING_CHAINS:
        for severity, way in enumerate(ENCODING_CHAINS[kind], 1):
            folder = data / f"{kind}_{severity}"
            yield row_of(subject, kind, severity, way.words(), crops_after(way, subject, folder))
            remove(folder)
    else:
        yield from attacked(kind, subject)


def _corrupted(kind: str, step: float, seed: int, picture: np.ndarray, place: int) -> np.ndarray:
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), place])  # the same noise at every severity
    return CORRUPTIONS[kind].apply(picture, step, rng)


def row_of(
    subject: Subject,
    kind: str,
    severity: int,
    setting: str,
    samples: Samples,
    change: Callable[[np.ndarray, int], np.ndarray] | None = None,
) -> Row:
    frames = score_frames(subject.network, samples, subject.params, change, f"{kind} {severity}")
    verdicts = video_verdicts(subject.videos, frames, subject.rule)
    found = metrics_of(labelled_videos(verdicts), subject.params.bootstrap, subject.params.seed)
    return {
        "kind": kind,
        "severity": severity,
        "setting": setting,
        "videos": len(verdicts),
        "lost": sum(verdict.verdict == NO_VERDICT for verdict in verdicts),
        "auc": found["auc"]["value"],
        "low": found["auc"]["low"],
        "high": found["auc"]["high"],
        "balanced_accuracy": found["balanced_accuracy"]["value"],
        "attack_success": "",
    }


def crops_after(way: EncodingChain, subject: Subject, folder: Path) -> Samples:
    """The videos go that way; their faces are then looked for and cut out as params.yaml says."""
    reading = load_params("read_video", Reading)
    moved = [replace(video, path=relative(folder / f"videos/{video.video}.mp4"), mask="") for video in subject.videos]
    work = partial(_send, way=way, reading=reading)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        sent = pool.map(work, subject.videos, moved)
        arrived = list(track(sent, len(moved), f"encoding, {way.words()}", "videos"))
    write_index(folder / "videos.csv", arrived)
    places = ("--index", folder / "videos.csv", "--boxes_path", folder / "boxes", "--output_path", folder / "crops")
    run_command("preprocessing/preprocess.py", *places, "--max_failed_fraction", 1)  # what is lost is what one wants to know
    return samples_of(arrived, folder / "crops", subject.params)


def _send(video: Video, moved: Video, way: EncodingChain, reading: Reading) -> Video:
    try:
        reencode(from_root(video.path), from_root(moved.path), way, reading)
    except UnreadableVideo:  # so was the one that it is made from
        return moved
    return replace(moved, content=content_hash(from_root(moved.path)))


def attacked(kind: str, subject: Subject) -> Iterator[Row]:
    """One crop a video: of those that are judged right, the share that is turned by a budget, or by less of it."""
    chosen = {sample.video.video: sample for sample in subject.samples}  # the last of each
    samples = [chosen[name] for name in sorted(chosen)]
    contract, network = subject.network.input, subject.network
    device = next(network.parameters()).device
    pictures = torch.from_numpy(np.stack([contract.fit(read_crop(sample.crop.path)) for sample in samples])).to(device)
    labels = torch.tensor([sample.video.label for sample in samples], device=device)
    right = _called(subject, pictures) == labels.cpu().numpy()
    turned = np.zeros(len(labels), bool)
    for severity, budget in enumerate(BUDGETS, 1):

        def attack(places: range, budget: int = budget) -> torch.Tensor:
            some = slice(places.start, places.stop)
            return ATTACKS[kind](network, contract, pictures[some], labels[some], budget)

        attacks = side_by_side(attack, len(labels), subject.params.batch_size, subject.params.workers)
        changed = torch.cat(list(track(attacks, len(labels), f"{kind}, {budget} grey levels", "pictures", size=len)))
        turned |= right & (_called(subject, changed) != labels.cpu().numpy())
        setting = f"{budget} of 255 grey levels"
        success = round(float(turned.sum() / max(1, right.sum())), 6)
        yield {"kind": kind, "severity": severity, "setting": setting, "videos": int(right.sum()), "attack_success": success}


def _called(subject: Subject, pictures: torch.Tensor) -> np.ndarray:
    batches = pictures.split(subject.params.batch_size)
    return fake_probabilities(subject.network, batches) > subject.rule.threshold


def write_table(folder: Path, output: Path) -> list[dict[str, str]]:
    """All kinds that were tried, in one table and one picture."""
    rows: list[dict[str, str]] = []
    for kind in KINDS:
        if (folder / f"{kind}.csv").is_file():
            with (folder / f"{kind}.csv").open(newline="") as file:
                rows += csv.DictReader(file)
    if not rows:
        raise UserError(f"{folder} holds no results; robustness_test.py without --table makes them")
    write_csv(output / "robustness.csv", COLUMNS, rows)
    write_json(output / "protocol.json", common_protocol(folder))
    draw_curves(output / "robustness.png", rows)
    return rows


def common_protocol(folder: Path) -> dict[str, Any] | None:
    """Of all kinds that were tried: rows of different tests belong in no table together."""
    protocols = [(path.stem, json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]
    if not protocols:
        return None
    (first, one), *others = protocols
    for kind, other in others:
        if unlike := disagreement(one, other, tuple(one)):
            key, here, there = unlike
            raise UserError(f"not tried alike: {key} is {here} with {first} and {there} with {kind}; try the kinds anew")
    return one


def draw_curves(path: Path, rows: list[dict[str, str]]) -> None:
    by_kind: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_kind.setdefault(row["kind"], []).append(row)
    clean = by_kind.pop(CLEAN, [])
    figure, panels = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
    groups: dict[str, Sequence[str]] = {"on crops": [*CORRUPTIONS], "on videos": [*ENCODING_CHAINS], "on purpose": [*ATTACKS]}
    for axes, (title, kinds) in zip(panels, groups.items(), strict=True):
        of_attacks = title == "on purpose"
        tried = [kind for kind in kinds if kind in by_kind]
        for kind in tried:
            shown = by_kind[kind] if of_attacks else clean + by_kind[kind]
            column = "attack_success" if of_attacks else "auc"
            axes.plot(
                [str(BUDGETS[int(row["severity"]) - 1]) if of_attacks else int(row["severity"]) for row in shown],
                [float(row[column] or "nan") for row in shown],
                marker="o",
                markersize=4,
                label=kind.replace("_", " "),
            )
            for row in shown:
                if row.get("lost") and clean and int(row["lost"]) > int(clean[0]["lost"]):
                    lost = f"{int(row['lost']) / int(row['videos']):.0%} lost"
                    axes.annotate(
                        lost, (int(row["severity"]), float(row["auc"])), (4, 5), textcoords="offset points", fontsize=7
                    )
        axes.set_title(title, fontsize=10)
        axes.set(ylim=(-0.02, 1.02), xlabel="budget, grey levels" if of_attacks else "severity; 0 is as it is")
        axes.set(ylabel="share of right verdicts turned" if of_attacks else "AUC by video")
        if not of_attacks:
            axes.axhline(0.5, color="0.75", linestyle=":", linewidth=1)
            axes.xaxis.get_major_locator().set_params(integer=True)
        if tried:
            axes.legend(fontsize=8, loc="upper left" if of_attacks else "lower left")
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(path, figure)


def main() -> None:
    params, given = read_command_line(
        __doc__,
        "test",
        Params,
        kind=TextFlag(f"one, or several with commas (default: all): {', '.join(KINDS)}"),
        table=SwitchFlag("only table and curves, of what was tried already"),
        model_path=PathFlag("data/models/best.safetensors", "the checkpoint to test"),
        **CROPS_FLAGS,
        work_path=PathFlag("data/robustness", "where encoded videos, their boxes and crops go"),
        output_path=PathFlag("results/robustness", "where the results of each kind go"),
        table_path=PathFlag("results/robustness_table", "where table and curves go"),
    )
    index = index_for(given.crops, given.index)
    kinds = given.kind.split(",") if given.kind else [] if given.table else list(KINDS)
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise UserError(f"--kind {unknown[0]} is not known; there are: {', '.join(KINDS)}")
    if kinds:
        seed_everything(params.seed, params.threads)
        network, checkpoint = load_checkpoint(given.model_path, choose_device(params.device))
        videos = [video for video in read_index(index) if video.split == params.split]
        samples = samples_of(videos, given.crops, params)
        claim(given.output_path, index, given.replace)
        subject = Subject(network, checkpoint, rule_of(checkpoint, params), videos, samples, params)
    for kind in kinds:
        rows = list(rows_of(kind, subject, given.work_path))
        write_csv(given.output_path / f"{kind}.csv", COLUMNS, rows)
        write_json(given.output_path / f"{kind}.json", protocol(checkpoint, given.model_path, index, params, subject.rule))
        tell(rows)
    if not given.kind:
        tell(write_table(given.output_path, given.table_path))
    if kinds and checkpoint.warning:
        print(checkpoint.warning)


def tell(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        figure = (
            f"{row['attack_success']} turned" if row["attack_success"] != "" else f"video AUC {row['auc']}, {row['lost']} lost"
        )
        print(f"{row['kind']:<16}{row['severity']:>2}  {row['setting']:<52}{figure}")


if __name__ == "__main__":
    run(main)
