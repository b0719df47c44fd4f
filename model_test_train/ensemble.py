"""Several networks that judge together: by weights that validation videos chose, each face anew by who is sure, or by stacking.

    python model_test_train/ensemble.py --members meso4,xception            # of data/networks, or checkpoints by their paths
    python model_test_train/ensemble.py --members A,B --way attention
    python model_test_train/ensemble.py --members A,B --optimize-weights    # on the predictions that lie there already

Judges validation and test videos by each member (once), fits the ensemble on validation alone, and tests it. Writes
results/networks/<member>, data/ensembles/<way> and results/ensembles/<way>.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model_test_train.ensembles.members import SPLITS, Member, Predictions, member_of, read_predictions
from model_test_train.ensembles.weight_search import fit, folds, out_of_fold
from model_test_train.evaluation import testing
from model_test_train.evaluation.fusion import ENCODING_CHAINS, Array, Fused, loss
from model_test_train.evaluation.predictor import Vote, votes_of
from model_test_train.evaluation.testing import protocol, rule_of
from model_test_train.metrics.calibration import Calibration
from model_test_train.metrics.point_metrics import Scores, best_threshold, measure
from model_test_train.metrics.verdicts import FrameScore, Verdict, video_verdicts
from model_test_train.networks.checkpoint import Checkpoint
from model_test_train.test_model import say, write_tests
from pipeline.errors import UserError, run
from pipeline.index import of_dataset, read_index
from pipeline.ledger import content_hash, key_of
from pipeline.outputs import write_csv, write_json
from pipeline.params import SwitchFlag, load_params, read_command_line, setting
from pipeline.project import from_root, relative
from preprocessing.corpus.folders import CROPS_FLAGS, claim, index_for


@dataclass(frozen=True)
class Params:
    members: str = setting("names in data/networks, or checkpoints, with commas")
    way: str = setting("how scores are put together", choices=tuple(ENCODING_CHAINS))
    ways: tuple[str, ...] = setting("those that `dvc repro` fits and tests")
    trials: int = setting("of the search for weights", low=1)
    folds: int = setting("of validation videos, nobody in two of them, to tell what the ensemble is worth", low=2)
    agreement: float = setting("share of the members' votes under which a verdict is uncertain", low=0, high=1)
    seed: int = setting("of the search and the folds", low=0)


@dataclass(frozen=True)
class Fitted:
    """An ensemble: what validation videos made of it, and what they promise."""

    fused: Fused
    threshold: float
    calibration: Calibration
    promised: dict[str, dict[str, float]]  # each member and each way -> figures on validation
    held_out: bool  # whether those of the ways are of videos that they were not fitted on

    def judge(self, predictions: Predictions) -> list[FrameScore]:
        probabilities = self.fused(predictions.faces().logits)
        return [
            FrameScore(video, frame, track, row["path"], float(probability), tuple(members))
            for (video, track, frame), row, probability, members in zip(
                predictions.places, predictions.rows, probabilities, predictions.probabilities.tolist(), strict=True
            )
        ]


def fit_ensemble(names: Sequence[str], validation: Predictions, params: Params, journal: Path | None) -> Fitted:
    faces = validation.faces()
    alone = zip(names, validation.probabilities.T, strict=True)
    promised = {name: promise(faces.labels, faces.judged(probabilities)) for name, probabilities in alone}
    apart = folds(faces, params.folds, params.seed)
    judged = {way: out_of_fold(way, faces, apart, params.trials, params.seed) for way in ENCODING_CHAINS}
    promised |= {f"ensemble, {way}": promise(faces.labels, found) for way, found in judged.items()}
    fused = fit(params.way, faces, params.trials, params.seed, journal)
    chosen = judged[params.way]  # the threshold, too, is chosen by videos that the weights did not see
    calibration = Calibration.fit(faces.labels, chosen)
    return Fitted(fused, best_threshold(faces.labels, chosen), calibration, promised, bool(apart))


def promise(labels: np.ndarray, probabilities: Array) -> dict[str, float]:
    return {
        "auc": float(measure(Scores.above(0.5, labels, probabilities))["auc"][0]),
        "log_loss": loss(labels, probabilities),
    }


def card_of(members: Sequence[Member], fitted: Fitted) -> Checkpoint:
    """What is said of the ensemble wherever it gives a verdict; trained on all that a member was."""
    known = all(member.card.trained_on for member in members)
    return Checkpoint(
        name=f"ensemble_of_{len(members)}",
        description={"members": {member.name: member.card.description for member in members}},
        preprocessing=members[0].card.preprocessing,
        threshold=fitted.threshold,
        calibration=fitted.calibration.facts(),
        trained_on=sorted({name for member in members for name in member.card.trained_on}) if known else [],
        provenance={"members": {member.name: member.card.provenance for member in members}},
    )


def vote_rows(members: Sequence[Member], verdicts: Sequence[Verdict], votes: dict[str, Vote]) -> Iterator[dict[str, Any]]:
    for verdict in verdicts:
        if vote := votes.get(verdict.video.video):
            yield {
                "video": verdict.video.video,
                "method": verdict.video.method,
                "label": verdict.video.label,
                "verdict": verdict.verdict,
                "outcome": verdict.outcome,
                "fake_probability": verdict.fake_probability,
                "agreement": round(vote.agreement(verdict.verdict == "fake"), 6),
                "disagreement": round(vote.disagreement, 6),
                **{member.name: p for member, p in zip(members, vote.probabilities, strict=True)},
                **{f"{member.name} votes": "fake" if p else "real" for member, p in zip(members, vote.fake, strict=True)},
            }


FILE = "ensemble.json"
NOT_HELD_OUT = "by the videos that they were fitted on, and so too well: these cannot be told apart by who is in them"
VOTE_COLUMNS = ("video", "method", "label", "verdict", "outcome", "fake_probability", "agreement", "disagreement")


def test(
    members: Sequence[Member],
    fitted: Fitted,
    card: Checkpoint,
    file: Path,
    index: Path,
    test_params: testing.Params,
    params: Params,
    output: Path,
) -> None:
    videos = [video for video in of_dataset(read_index(index), test_params.dataset) if video.split == "test_set"]
    rule = rule_of(card, test_params)
    thresholds = [member.card.threshold for member in members]
    verdicts, votes = [], {}
    for verdict in video_verdicts(videos, fitted.judge(read_predictions(members, "test_set", videos)), rule):
        if verdict.frames:
            vote = votes[verdict.video.video] = votes_of(thresholds, verdict.frames, test_params.aggregation)
            unsure = vote.agreement(verdict.verdict == "fake") < params.agreement
            verdict = replace(verdict, is_uncertain=verdict.is_uncertain or unsure)
        verdicts.append(verdict)
    names = [member.name for member in members]
    facts = {**protocol(card, file, index, test_params, rule), "members": names, "way": fitted.fused.way}
    measured = write_tests(output, card, facts, verdicts, rule, test_params, [f"member: {name}" for name in names])
    columns = (*VOTE_COLUMNS, *names, *(f"{name} votes" for name in names))
    write_csv(output / "votes.csv", columns, vote_rows(members, verdicts, votes))
    say(measured, card)


def told(fitted: Fitted, names: Sequence[str]) -> str:
    """What the search found, and what validation promises of each way."""
    weights = fitted.fused.facts.get("weights")
    lines = [f"  {name:<22} weight {weight:.3f}" for name, weight in zip(names, weights, strict=True)] if weights else []
    lines += [f"  {name:<22} AUC {f['auc']:.3f}  log loss {f['log_loss']:.3f}" for name, f in fitted.promised.items()]
    how = "by folds that nobody is in twice" if fitted.held_out else NOT_HELD_OUT
    return "\n".join([f"on validation (ensembles: {how})", *lines])


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "ensemble",
        Params,
        optimize_weights=SwitchFlag("only that, on the predictions that lie there already"),
        **CROPS_FLAGS,
    )
    index = index_for(paths.crops, paths.index)
    members = [member_of(name) for name in params.members.split(",") if name]
    names = [member.name for member in members]
    if len(set(names)) < max(2, len(names)):
        raise UserError("ensemble.members (--members) must name two networks at least, each once, with commas between them")
    for member in () if paths.optimize_weights else members:
        for split in SPLITS:
            member.judge(split, ("--index", index, "--crops", paths.crops))
    validation = read_predictions(members, "validation_set", read_index(index))
    folder = from_root(f"data/ensembles/{params.way}")
    claim(folder, index, paths.replace)
    key = key_of(names, asdict(params), validation.probabilities.tolist())[:8]
    fitted = fit_ensemble(names, validation, params, folder / f"search_{key}.log")
    card = card_of(members, fitted)
    write_json(folder / FILE, facts_of(members, fitted, card, params.agreement))
    print(told(fitted, names))
    if not paths.optimize_weights:
        output = from_root(f"results/ensembles/{params.way}")
        claim(output, index, paths.replace)
        test(members, fitted, card, folder / FILE, index, load_params("test", testing.Params), params, output)


def facts_of(members: Sequence[Member], fitted: Fitted, card: Checkpoint, agreement: float) -> dict[str, Any]:
    """All that the ensemble is, but its members' own weights; judge.py reads it."""
    return {
        "members": {member.name: {"file": relative(member.model), "sha256": content_hash(member.model)} for member in members},
        "temperatures": fitted.fused.temperatures,
        "way": fitted.fused.way,
        "learnt": fitted.fused.facts,
        "agreement": agreement,
        "validation": fitted.promised,
        "held_out": fitted.held_out,
        "card": asdict(card),
    }


if __name__ == "__main__":
    run(main)
