"""Published metrics of a detector beside those of its authors' code and ours on your data."""

import json
from pathlib import Path

from explain_deepfakes.model_test_train.evaluation.score_tables import read_scores
from explain_deepfakes.model_test_train.evaluation.testing import (
    MetricsRecord,
    ProtocolRecord,
    estimate_metrics_of,
    get_estimate,
)
from explain_deepfakes.model_test_train.metrics.intervals import format_estimate
from explain_deepfakes.model_test_train.networks.catalogue import find_entry
from explain_deepfakes.pipeline.errors import UserError

DRAWS, SEED = 1000, 0


def compare_with_published(name: str, tests: Path, original: Path | None) -> list[str]:
    """Lines with the published metrics, those of scores that the authors' code gave, and those of a test folder."""
    published = find_entry(name).published
    protocol, metrics = _read_test(tests, name)
    crops = ", ".join(
        f"{key} {value}" for key, value in protocol["crops"].items() if key in ("align", "margin", "square", "size")
    )
    here = (
        f"{protocol['frames_per_video']} frames per video ({protocol['sampling']}), {protocol['aggregation']}; crops: {crops}"
    )
    lines = [
        f"published      {published.metrics}",
        f"               {published.frames} frames per video; {published.drift}",
    ]
    if original:
        table = estimate_metrics_of(read_scores(original, published.threshold).scores, DRAWS, SEED)
        lines.append(
            f"authors' code  AUC by video {format_estimate(get_estimate(table, 'auc'))}, {table['count']} videos of {original}"
        )
    by_video, by_frame = (format_estimate(get_estimate(metrics[level], "auc")) for level in ("video", "frame"))
    lines.append(f"here           AUC by video {by_video}, by frame {by_frame}, {metrics['video']['count']} videos of {tests}")
    lines.append(f"               {here}")
    return lines


def _read_test(tests: Path, name: str) -> tuple[ProtocolRecord, MetricsRecord]:
    try:
        protocol: ProtocolRecord = json.loads((tests / "protocol.json").read_text())
        metrics: MetricsRecord = json.loads((tests / "metrics.json").read_text())
    except FileNotFoundError as error:
        raise UserError(
            f"{tests} holds no test; run test_model.py --model_path data/detectors/{name}.safetensors first"
        ) from error
    if protocol["model"] != name:
        raise UserError(f"{tests} is a test of {protocol['model']}, not of {name}")
    return protocol, metrics
