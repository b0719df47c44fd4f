"""Fit an ensemble on validation videos, and test it."""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from explain_deepfakes.model_test_train.ensembles.members import (
    SPLIT_FOLDERS,
    Member,
    Predictions,
    find_member,
    read_predictions,
)
from explain_deepfakes.model_test_train.ensembles.params import EnsembleParams
from explain_deepfakes.model_test_train.ensembles.weight_search import fit_fusion, make_folds, out_of_fold_probabilities
from explain_deepfakes.model_test_train.evaluation.checkpoint_rule import make_verdict_rule
from explain_deepfakes.model_test_train.evaluation.fusion import FUSION_METHODS, Array, Fusion, balanced_log_loss
from explain_deepfakes.model_test_train.evaluation.params import TestParams
from explain_deepfakes.model_test_train.evaluation.predictor import EnsembleRecord, MemberVotes, collect_votes
from explain_deepfakes.model_test_train.evaluation.stage import print_summary, write_results
from explain_deepfakes.model_test_train.evaluation.testing import ProtocolRecord, make_protocol
from explain_deepfakes.model_test_train.metrics.aggregation import FAKE_VERDICT, FrameScore, Verdict, video_verdicts
from explain_deepfakes.model_test_train.metrics.calibration import Calibration
from explain_deepfakes.model_test_train.metrics.point_metrics import Scores, best_threshold, compute_metrics
from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import read_index, select_dataset
from explain_deepfakes.pipeline.ledger import content_hash, key_of
from explain_deepfakes.pipeline.outputs import write_csv, write_json
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.project import from_root, relative
from explain_deepfakes.preprocessing.corpus.folders import claim, index_for

FILE = "ensemble.json"
NOT_HELD_OUT = "on the videos that they were fitted on, so too optimistic: people connect these videos, which allows no folds"
VOTE_COLUMNS = ("video", "method", "label", "verdict", "outcome", "fake_probability", "agreement", "disagreement")


class EnsembleProtocol(ProtocolRecord):
    """The conditions of an ensemble's test."""

    members: list[str]
    way: str


@dataclass(frozen=True)
class FittedEnsemble:
    """A fusion with its threshold, its calibration and its metrics on validation."""

    fusion: Fusion
    threshold: float
    calibration: Calibration
    validation_metrics: dict[str, dict[str, float]]  # of each member and each fusion method
    held_out: bool  # whether the metrics of fusions are on videos that they were not fitted on

    def score(self, predictions: Predictions) -> list[FrameScore]:
        probabilities = self.fusion(predictions.member_logits().logits)
        return [
            FrameScore(video, frame, track, row["path"], float(probability), tuple(members))
            for (video, track, frame), row, probability, members in zip(
                predictions.keys, predictions.rows, probabilities, predictions.probabilities.tolist(), strict=True
            )
        ]


def fit_ensemble(names: Sequence[str], validation: Predictions, params: EnsembleParams, journal: Path | None) -> FittedEnsemble:
    faces = validation.member_logits()
    metrics = {
        name: compute_validation_metrics(faces.labels, faces.aggregate(probabilities))
        for name, probabilities in zip(names, validation.probabilities.T, strict=True)
    }
    folds = make_folds(faces, params.folds, params.seed)
    by_method = {
        method: out_of_fold_probabilities(method, faces, folds, params.trials, params.seed) for method in FUSION_METHODS
    }
    for method, probabilities in by_method.items():
        metrics[f"ensemble, {method}"] = compute_validation_metrics(faces.labels, probabilities)
    fusion = fit_fusion(params.fusion, faces, params.trials, params.seed, journal)
    held_out = by_method[params.fusion]  # the threshold is also chosen on videos that the weights were not fitted on
    calibration = Calibration.fit(faces.labels, held_out)
    return FittedEnsemble(fusion, best_threshold(faces.labels, held_out), calibration, metrics, bool(folds))


def compute_validation_metrics(labels: np.ndarray, probabilities: Array) -> dict[str, float]:
    return {
        "auc": float(compute_metrics(Scores.above(0.5, labels, probabilities))["auc"][0]),
        "log_loss": balanced_log_loss(labels, probabilities),
    }


def make_card(members: Sequence[Member], fitted: FittedEnsemble) -> Checkpoint:
    """The ensemble's checkpoint card; its training data are those of all members."""
    all_trained = all(member.card.trained_on for member in members)
    return Checkpoint(
        name=f"ensemble_of_{len(members)}",
        description={"members": {member.name: member.card.description for member in members}},
        preprocessing=members[0].card.preprocessing,
        threshold=fitted.threshold,
        calibration=fitted.calibration.to_dict(),
        trained_on=sorted({name for member in members for name in member.card.trained_on}) if all_trained else [],
        provenance={"members": {member.name: member.card.provenance for member in members}},
    )


def make_record(members: Sequence[Member], fitted: FittedEnsemble, card: Checkpoint, agreement: float) -> EnsembleRecord:
    """Everything of the ensemble except the weights of its members; `load_predictor` reads it."""
    return {
        "members": {member.name: {"file": relative(member.model), "sha256": content_hash(member.model)} for member in members},
        "temperatures": fitted.fusion.temperatures,
        "way": fitted.fusion.method,
        "learnt": fitted.fusion.parameters,
        "agreement": agreement,
        "validation": fitted.validation_metrics,
        "held_out": fitted.held_out,
        "card": asdict(card),
    }


def vote_rows(
    members: Sequence[Member], verdicts: Sequence[Verdict], votes: Mapping[str, MemberVotes]
) -> Iterator[dict[str, str | float | None]]:
    for verdict in verdicts:
        if video_votes := votes.get(verdict.video.video):
            yield {
                "video": verdict.video.video,
                "method": verdict.video.method,
                "label": verdict.video.label,
                "verdict": verdict.verdict,
                "outcome": verdict.outcome,
                "fake_probability": verdict.fake_probability,
                "agreement": round(video_votes.agreement(verdict.verdict == FAKE_VERDICT), 6),
                "disagreement": round(video_votes.disagreement, 6),
                **{member.name: p for member, p in zip(members, video_votes.probabilities, strict=True)},
                **{
                    f"{member.name} votes": "fake" if called_fake else "real"
                    for member, called_fake in zip(members, video_votes.called_fake, strict=True)
                },
            }


def test_ensemble(
    members: Sequence[Member],
    fitted: FittedEnsemble,
    card: Checkpoint,
    file: Path,
    index: Path,
    test_params: TestParams,
    params: EnsembleParams,
    output: Path,
) -> None:
    videos = [video for video in select_dataset(read_index(index), test_params.dataset) if video.split == "test_set"]
    rule = make_verdict_rule(card, test_params)
    thresholds = [member.card.threshold for member in members]
    verdicts, votes = [], {}
    for verdict in video_verdicts(videos, fitted.score(read_predictions(members, "test_set", videos)), rule):
        if verdict.frames:
            video_votes = votes[verdict.video.video] = collect_votes(thresholds, verdict.frames, rule.aggregation)
            members_disagree = video_votes.agreement(verdict.verdict == FAKE_VERDICT) < params.agreement
            verdict = replace(verdict, is_uncertain=verdict.is_uncertain or members_disagree)
        verdicts.append(verdict)
    names = [member.name for member in members]
    protocol: EnsembleProtocol = {
        **make_protocol(card, file, index, test_params, rule),
        "members": names,
        "way": fitted.fusion.method,
    }
    metrics = write_results(output, card, protocol, verdicts, rule, test_params, [f"member: {name}" for name in names])
    columns = (*VOTE_COLUMNS, *names, *(f"{name} votes" for name in names))
    write_csv(output / "votes.csv", columns, vote_rows(members, verdicts, votes))
    print_summary(metrics, card)


def format_summary(fitted: FittedEnsemble, names: Sequence[str]) -> str:
    """The members' weights if they are constant, and the metrics on validation."""
    parameters = fitted.fusion.parameters
    lines = []
    if "weights" in parameters:
        weights: list[float] = np.asarray(parameters["weights"]).tolist()
        lines = [f"  {name:<22} weight {weight:.3f}" for name, weight in zip(names, weights, strict=True)]
    lines += [f"  {name:<22} AUC {m['auc']:.3f}  log loss {m['log_loss']:.3f}" for name, m in fitted.validation_metrics.items()]
    condition = "on folds that share no person with the rest" if fitted.held_out else NOT_HELD_OUT
    return "\n".join([f"metrics on validation (ensembles: {condition})", *lines])


def make_ensemble(params: EnsembleParams, paths: Namespace) -> None:
    index = index_for(paths.crops, paths.index)
    members = [find_member(name) for name in params.members.split(",") if name]
    names = [member.name for member in members]
    if len(set(names)) < max(2, len(names)):
        raise UserError("ensemble.members (--members) must name two networks or more, each once, separated by commas")
    for member in () if paths.optimize_weights else members:
        for split in SPLIT_FOLDERS:
            member.score_split(split, ("--index", index, "--crops", paths.crops))
    validation = read_predictions(members, "validation_set", read_index(index))
    folder = from_root(f"data/ensembles/{params.fusion}")
    claim(folder, index, paths.replace)
    key = key_of(names, asdict(params), validation.probabilities.tolist())[:8]
    fitted = fit_ensemble(names, validation, params, folder / f"search_{key}.log")
    card = make_card(members, fitted)
    write_json(folder / FILE, make_record(members, fitted, card, params.agreement))
    print(format_summary(fitted, names))
    if not paths.optimize_weights:
        output = from_root(f"results/ensembles/{params.fusion}")
        claim(output, index, paths.replace)
        test_ensemble(members, fitted, card, folder / FILE, index, load_params("test", TestParams), params, output)
