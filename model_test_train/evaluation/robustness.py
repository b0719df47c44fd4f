"""Robustness: metrics under corruptions, re-encoding and adversarial attacks."""

import csv
import json
import zlib
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes

from explain_deepfakes.model_test_train.evaluation.attacks import ATTACKS
from explain_deepfakes.model_test_train.evaluation.checkpoint_rule import make_verdict_rule
from explain_deepfakes.model_test_train.evaluation.corruptions import CORRUPTIONS
from explain_deepfakes.model_test_train.evaluation.params import CLEAN, ROBUSTNESS_KINDS, TestParams
from explain_deepfakes.model_test_train.evaluation.testing import (
    ProtocolRecord,
    estimate_metrics_of,
    first_difference,
    get_estimate,
    labelled_videos,
    make_protocol,
    score_frames,
    select_samples,
)
from explain_deepfakes.model_test_train.metrics.aggregation import NO_VERDICT, VerdictRule, video_verdicts
from explain_deepfakes.model_test_train.metrics.drawing import plt, save_figure
from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint, load_checkpoint
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.model_test_train.networks.scoring import fake_probabilities, map_ranges
from explain_deepfakes.model_test_train.training.data import PictureTransform, Samples
from explain_deepfakes.pipeline.commands import run_command
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import Video, read_index, write_index
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.outputs import remove, write_csv, write_json
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.progress import track
from explain_deepfakes.pipeline.project import from_root, relative
from explain_deepfakes.pipeline.reproducible import choose_device, seed_everything
from explain_deepfakes.preprocessing.corpus.folders import claim, index_for
from explain_deepfakes.preprocessing.crops.stores import read_crop
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.reencoding import ENCODING_CHAINS, EncodingChain, reencode
from explain_deepfakes.preprocessing.video.video import UnreadableVideo

COLUMNS = ("kind", "severity", "setting", "videos", "lost", "auc", "low", "high", "balanced_accuracy", "attack_success")
BUDGETS = (1, 2, 4, 8, 16)  # grey levels of 255
ENCODER_THREADS = 2  # videos that are encoded in parallel
Row = dict[str, str | int | float | None]
TextRow = dict[str, str]  # a row as read from CSV


@dataclass(frozen=True)
class Subject:
    """The network to test, and the videos to test it on."""

    network: Network
    checkpoint: Checkpoint
    rule: VerdictRule
    videos: list[Video]
    samples: Samples
    params: TestParams


def evaluate_kind(kind: str, subject: Subject, work_folder: Path) -> Iterator[Row]:
    """Yield a row for each severity of one kind of corruption, encoding or attack."""
    if kind == CLEAN:
        yield evaluate_samples(subject, kind, 0, "unchanged", subject.samples)
    elif kind in CORRUPTIONS:
        corruption = CORRUPTIONS[kind]
        for severity, step in enumerate(corruption.steps, 1):
            transform = partial(_corrupt, kind, step, subject.params.seed)
            yield evaluate_samples(subject, kind, severity, f"{step:g} {corruption.unit}", subject.samples, transform)
    elif kind in ENCODING_CHAINS:
        for severity, chain in enumerate(ENCODING_CHAINS[kind], 1):
            folder = work_folder / f"{kind}_{severity}"
            yield evaluate_samples(subject, kind, severity, chain.describe(), reencode_and_crop(chain, subject, folder))
            remove(folder)
    else:
        yield from evaluate_attack(kind, subject)


def _corrupt(kind: str, step: float, seed: int, picture: np.ndarray, index: int) -> np.ndarray:
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), index])  # the same noise at every severity
    return CORRUPTIONS[kind].apply(picture, step, rng)


def evaluate_samples(
    subject: Subject,
    kind: str,
    severity: int,
    setting: str,
    samples: Samples,
    transform: PictureTransform | None = None,
) -> Row:
    """Score the samples, and return a row of metrics by video."""
    frames = score_frames(subject.network, samples, subject.params, transform, f"{kind} {severity}")
    verdicts = video_verdicts(subject.videos, frames, subject.rule)
    metrics = estimate_metrics_of(labelled_videos(verdicts), subject.params.bootstrap, subject.params.seed)
    auc = get_estimate(metrics, "auc")
    return {
        "kind": kind,
        "severity": severity,
        "setting": setting,
        "videos": len(verdicts),
        "lost": sum(verdict.verdict == NO_VERDICT for verdict in verdicts),
        "auc": auc["value"],
        "low": auc["low"],
        "high": auc["high"],
        "balanced_accuracy": get_estimate(metrics, "balanced_accuracy")["value"],
        "attack_success": "",
    }


def reencode_and_crop(chain: EncodingChain, subject: Subject, folder: Path) -> Samples:
    """Re-encode the videos, then detect and crop their faces with the settings of params.yaml."""
    reading = load_params("read_video", ReadingParams)
    targets = [replace(video, path=relative(folder / f"videos/{video.video}.mp4"), mask="") for video in subject.videos]
    work = partial(_reencode_video, chain=chain, reading=reading)
    with ThreadPoolExecutor(ENCODER_THREADS) as pool:
        encoding = pool.map(work, subject.videos, targets)
        encoded = list(track(encoding, len(targets), f"encoding, {chain.describe()}", "videos"))
    write_index(folder / "videos.csv", encoded)
    paths = ("--index", folder / "videos.csv", "--boxes_path", folder / "boxes", "--output_path", folder / "crops")
    run_command("preprocessing/preprocess.py", *paths, "--max_failed_fraction", 1)  # lost faces are a result, not a failure
    return select_samples(encoded, folder / "crops", subject.params)


def _reencode_video(video: Video, target: Video, chain: EncodingChain, reading: ReadingParams) -> Video:
    try:
        reencode(from_root(video.path), from_root(target.path), chain, reading)
    except UnreadableVideo:  # the original cannot be read either
        return target
    return replace(target, content=content_hash(from_root(target.path)))


def evaluate_attack(kind: str, subject: Subject) -> Iterator[Row]:
    """Attack one crop per video; success is the share of right verdicts that are flipped by the budget or a smaller one."""
    by_video = {sample.video.video: sample for sample in subject.samples}  # the last sample of each
    samples = [by_video[name] for name in sorted(by_video)]
    contract, network = subject.network.input, subject.network
    device = next(network.parameters()).device
    pictures = torch.from_numpy(np.stack([contract.fit(read_crop(sample.crop.path)) for sample in samples])).to(device)
    labels = torch.tensor([sample.video.label for sample in samples], device=device)
    right = _call_fake(subject, pictures) == labels.cpu().numpy()
    flipped = np.zeros(len(labels), bool)
    for severity, budget in enumerate(BUDGETS, 1):

        def attack(indices: range, budget: int = budget) -> torch.Tensor:
            batch = slice(indices.start, indices.stop)
            return ATTACKS[kind](network, contract, pictures[batch], labels[batch], budget)

        attacks = map_ranges(attack, len(labels), subject.params.batch_size, subject.params.workers)
        attacked = torch.cat(list(track(attacks, len(labels), f"{kind}, {budget} grey levels", "pictures", size=len)))
        flipped |= right & (_call_fake(subject, attacked) != labels.cpu().numpy())
        setting = f"{budget} of 255 grey levels"
        success = round(float(flipped.sum() / max(1, right.sum())), 6)
        yield {"kind": kind, "severity": severity, "setting": setting, "videos": int(right.sum()), "attack_success": success}


def _call_fake(subject: Subject, pictures: torch.Tensor) -> np.ndarray:
    batches = pictures.split(subject.params.batch_size)
    return fake_probabilities(subject.network, batches) > subject.rule.threshold


def write_table(folder: Path, output: Path) -> list[TextRow]:
    """Write the results of all kinds as one table and one plot."""
    rows: list[TextRow] = []
    for kind in ROBUSTNESS_KINDS:
        if (folder / f"{kind}.csv").is_file():
            with (folder / f"{kind}.csv").open(newline="") as file:
                rows += csv.DictReader(file)
    if not rows:
        raise UserError(f"{folder} has no results; run evaluate_robustness.py without --table to make them")
    write_csv(output / "robustness.csv", COLUMNS, rows)
    write_json(output / "protocol.json", read_common_protocol(folder))
    draw_curves(output / "robustness.png", rows)
    return rows


def read_common_protocol(folder: Path) -> ProtocolRecord | None:
    """Read the protocol of all kinds, and raise unless it is the same for all: otherwise they are not comparable."""
    protocols: list[tuple[str, ProtocolRecord]] = [
        (path.stem, json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))
    ]
    if not protocols:
        return None
    (first_kind, first), *others = protocols
    for kind, protocol in others:
        if difference := first_difference(first, protocol, first):
            key, first_value, value = difference
            raise UserError(
                f"not tested under the same conditions: {key} is {first_value} for {first_kind} and {value} for {kind}; "
                "test both again"
            )
    return first


def draw_curves(path: Path, rows: Sequence[TextRow]) -> None:
    """Plot AUC by severity for crops and for videos, and the success of attacks by budget."""
    by_kind: dict[str, list[TextRow]] = {}
    for row in rows:
        by_kind.setdefault(row["kind"], []).append(row)
    clean = by_kind.pop(CLEAN, [])
    figure, (crops, videos, attacks) = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
    for axes, title, kinds in ((crops, "on crops", CORRUPTIONS), (videos, "on videos", ENCODING_CHAINS)):
        _draw_severities(axes, {kind: clean + by_kind[kind] for kind in kinds if kind in by_kind}, clean)
        axes.set_title(title, fontsize=10)
    _draw_attacks(attacks, {kind: by_kind[kind] for kind in ATTACKS if kind in by_kind})
    for axes in (crops, videos, attacks):
        axes.set(ylim=(-0.02, 1.02))
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(path, figure)


def _draw_severities(axes: Axes, curves: Mapping[str, Sequence[TextRow]], clean: Sequence[TextRow]) -> None:
    for kind, rows in curves.items():
        severities = [int(row["severity"]) for row in rows]
        axes.plot(severities, [float(row["auc"] or "nan") for row in rows], label=_label(kind), marker="o", markersize=4)
        for row in rows:
            if row.get("lost") and clean and int(row["lost"]) > int(clean[0]["lost"]):
                text = f"{int(row['lost']) / int(row['videos']):.0%} lost"
                point = int(row["severity"]), float(row["auc"])
                axes.annotate(text, point, (4, 5), textcoords="offset points", fontsize=7)
    axes.set(xlabel="severity; 0 is unchanged", ylabel="AUC by video")
    axes.axhline(0.5, color="0.75", linestyle=":", linewidth=1)
    axes.locator_params(axis="x", integer=True)
    if curves:
        axes.legend(fontsize=8, loc="lower left")


def _draw_attacks(axes: Axes, curves: Mapping[str, Sequence[TextRow]]) -> None:
    for kind, rows in curves.items():
        budgets = [str(BUDGETS[int(row["severity"]) - 1]) for row in rows]
        success = [float(row["attack_success"] or "nan") for row in rows]
        axes.plot(budgets, success, label=_label(kind), marker="o", markersize=4)
    axes.set_title("adversarial", fontsize=10)
    axes.set(xlabel="budget, grey levels", ylabel="share of right verdicts flipped")
    if curves:
        axes.legend(fontsize=8, loc="upper left")


def _label(kind: str) -> str:
    return kind.replace("_", " ")


def evaluate_robustness(params: TestParams, args: Namespace) -> None:
    index = index_for(args.crops, args.index)
    kinds = args.kind.split(",") if args.kind else [] if args.table else list(ROBUSTNESS_KINDS)
    if unknown := sorted(set(kinds) - set(ROBUSTNESS_KINDS)):
        raise UserError(f"--kind {unknown[0]} is not known; there are: {', '.join(ROBUSTNESS_KINDS)}")
    if kinds:
        seed_everything(params.seed, params.threads)
        network, checkpoint = load_checkpoint(args.model_path, choose_device(params.device))
        videos = [video for video in read_index(index) if video.split == params.split]
        samples = select_samples(videos, args.crops, params)
        claim(args.output_path, index, args.replace)
        subject = Subject(network, checkpoint, make_verdict_rule(checkpoint, params), videos, samples, params)
    for kind in kinds:
        rows = list(evaluate_kind(kind, subject, args.work_path))
        write_csv(args.output_path / f"{kind}.csv", COLUMNS, rows)
        write_json(args.output_path / f"{kind}.json", make_protocol(checkpoint, args.model_path, index, params, subject.rule))
        print_rows(rows)
    if not args.kind:
        print_rows(write_table(args.output_path, args.table_path))
    if kinds and checkpoint.warning:
        print(checkpoint.warning)


def print_rows(rows: Sequence[Row] | Sequence[TextRow]) -> None:
    for row in rows:
        is_attack = row["attack_success"] != ""
        result = f"{row['attack_success']} flipped" if is_attack else f"video AUC {row['auc']}, {row['lost']} lost"
        print(f"{row['kind']:<16}{row['severity']:>2}  {row['setting']:<52}{result}")
