"""Stage explain: the heatmaps and figures of the selected samples."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from explain_deepfakes.explain_model.figures.params import UNSCALED_MAPS, ExplainParams
from explain_deepfakes.explain_model.figures.sample_figure import ConceptsFigure, PairFigure, SampleFigure
from explain_deepfakes.explain_model.inputs.samples import (
    EXAMPLES,
    ExplainedSample,
    match_originals,
    read_examples,
    read_true_mask,
)
from explain_deepfakes.explain_model.inputs.test_results import load_tested_network, read_tested_samples
from explain_deepfakes.explain_model.maps.heatmaps import (
    FailureRow,
    Heatmaps,
    concept_heatmaps,
    confidence,
    explain_crops,
    peak,
)
from explain_deepfakes.explain_model.maps.methods import get_map_method
from explain_deepfakes.model_test_train.evaluation.checkpoint_rule import make_verdict_rule
from explain_deepfakes.model_test_train.evaluation.params import TestParams
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.pipeline.index import read_index
from explain_deepfakes.pipeline.outputs import atomic_write, write_csv
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.progress import track
from explain_deepfakes.pipeline.project import from_root, root
from explain_deepfakes.preprocessing.corpus.folders import claim, index_for
from explain_deepfakes.preprocessing.crops.crops import Crop, read_crops

COLUMNS = (
    "video",
    "method",
    "label",
    "verdict",
    "uncertain",
    "outcome",
    "video_probability",
    "frame_probability",
    "frame",
    "track",
    "confidence",
    "peak_x",
    "peak_y",
    "peak_in_mask",
    "mask_share",
    "figure",
    "pair",
    "map",
    "map_against",
)
CONCEPT_COLUMNS = ("video", "crop", "part", "weight")
FAILURE_COLUMNS = ("video", "crop", "reason")

MAPS, MAPS_AGAINST = "maps", "maps_against"  # folders


class ExplanationRow(TypedDict):
    """A row of explanations.csv; columns that depend on a mask are empty without one."""

    video: str
    method: str
    label: int
    verdict: str
    uncertain: bool
    outcome: str
    video_probability: float
    frame_probability: float
    frame: int
    track: int
    confidence: float
    peak_x: int
    peak_y: int
    peak_in_mask: bool | str
    mask_share: float | str
    figure: str
    pair: str
    map: str
    map_against: str


class ConceptRow(TypedDict):
    """A row of parts.csv."""

    video: str
    crop: str
    part: str
    weight: float


def explain_model(
    network: Network,
    samples: Sequence[ExplainedSample],
    originals: dict[str, Crop],
    output: Path,
    params: ExplainParams,
    warning: str | None,
    save_maps: bool = False,
) -> tuple[int, int]:
    """Write maps and figures of each sample and a table of all; return the number of explained samples and of failures."""
    rows: list[ExplanationRow] = []
    failures: list[FailureRow] = []
    concept_rows: list[ConceptRow] = []
    style = params.opacity, warning, get_map_method(network, params.method)
    figure, pair_figure = SampleFigure(*style), PairFigure(*style)
    concepts_figure = ConceptsFigure(params.opacity, warning)
    settings = params.method, params.batch_size, failures
    faces = explain_crops(network, [(s.crop, s.called_fake) for s in samples], *settings)
    original_faces = explain_crops(
        network, [(originals[s.name], True) if s.name in originals else None for s in samples], *settings
    )
    explained = track(zip(samples, faces, original_faces, strict=True), len(samples), "explaining", "faces")
    for sample, face, original in explained:
        if face is None:
            continue
        crop, heatmaps = face
        mask = read_true_mask(sample)
        arrays = {
            MAPS: heatmaps.evidence_for,
            MAPS_AGAINST: heatmaps.evidence_against,
            UNSCALED_MAPS: heatmaps.unscaled if save_maps else None,
        }
        for folder, array in arrays.items():
            if array is not None:
                with atomic_write(output / folder / f"{sample.name}.npy") as unfinished:
                    np.save(unfinished, array)
        figure.draw(output / _figure_path(sample), sample, crop, heatmaps, mask)
        if original:
            pair = (original[0], crop), (original[1].for_fake, heatmaps.for_fake)
            pair_figure.draw(output / _pair_path(sample), sample, *pair, mask)
        if concepts := concept_heatmaps(network, crop):
            concepts_figure.draw(output / "parts" / f"{sample.name}.png", sample, crop, concepts)
            concept_rows += [
                {"video": sample.video.video, "crop": sample.crop.name, "part": name, "weight": weight}
                for name, weight, _ in concepts
            ]
        rows.append(_explanation_row(sample, heatmaps, mask, has_pair=original is not None))
    write_csv(output / "explanations.csv", COLUMNS, rows)
    if concept_rows:
        write_csv(output / "parts.csv", CONCEPT_COLUMNS, concept_rows)
    write_csv(output / "failures.csv", FAILURE_COLUMNS, failures)
    return len(rows), len(failures)


def _figure_path(sample: ExplainedSample) -> str:
    return f"figures/{sample.name}.png"


def _pair_path(sample: ExplainedSample) -> str:
    return f"pairs/{sample.name}.png"


def _explanation_row(sample: ExplainedSample, heatmaps: Heatmaps, mask: np.ndarray | None, has_pair: bool) -> ExplanationRow:
    x, y = peak(heatmaps.evidence_for)
    return {
        "video": sample.video.video,
        "method": sample.video.method,
        "label": sample.video.label,
        "verdict": sample.verdict,
        "uncertain": sample.is_uncertain,
        "outcome": sample.outcome,
        "video_probability": sample.video_probability,
        "frame_probability": sample.frame_probability,
        "frame": sample.crop.frame,
        "track": sample.crop.track,
        "confidence": round(confidence(heatmaps.evidence_for), 6),
        "peak_x": x,
        "peak_y": y,
        "peak_in_mask": "" if mask is None else bool(mask[y, x]),
        "mask_share": "" if mask is None else round(float(mask.mean()), 6),
        "figure": _figure_path(sample),
        "pair": _pair_path(sample) if has_pair else "",
        "map": f"{MAPS}/{sample.name}.npy",
        "map_against": "" if heatmaps.evidence_against is None else f"{MAPS_AGAINST}/{sample.name}.npy",
    }


def find_local_examples() -> Path | None:
    """A folder `examples` in the current folder, unless that is the project's, whose stages have no such input."""
    folder = Path(EXAMPLES).absolute()
    return folder if folder.is_dir() and folder.parent != root() else None


def explain_samples(params: ExplainParams, paths: Namespace) -> None:
    network, checkpoint = load_tested_network(paths.model_path, params)
    method = get_map_method(network, params.method)
    if examples := paths.examples or find_local_examples():
        rule = make_verdict_rule(checkpoint, load_params("test", TestParams))
        samples, originals = read_examples(examples, rule.calibrated(rule.threshold)), {}
        output = paths.output_path or examples.parent / "explanation"
    else:
        index = index_for(paths.crops, paths.index)
        videos, crops = read_index(index), read_crops(paths.crops)
        samples = read_tested_samples(paths.samples, paths.tests, videos, crops)
        originals = match_originals(samples, videos, crops)
        output = paths.output_path or from_root("results/explanation")
        claim(output, index, paths.replace)
    done, failed = explain_model(network, samples, originals, output, params, checkpoint.warning, paths.save_maps)
    print(f"{done} faces explained in {output}; method: {method.description}")
    if failed:
        print(f"{failed} pictures are missing or corrupt; they are listed with reasons in {output / 'failures.csv'}")
    if checkpoint.warning:
        print(checkpoint.warning)
