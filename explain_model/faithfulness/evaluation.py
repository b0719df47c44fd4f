"""Stage evaluate_explanations: metrics of how far the heatmaps can be trusted."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch

from explain_deepfakes.explain_model.faithfulness.baselines import BASELINES, BaselineInput, shrink_mask
from explain_deepfakes.explain_model.faithfulness.localisation import localisation_metrics
from explain_deepfakes.explain_model.faithfulness.params import EvaluateExplanationsParams
from explain_deepfakes.explain_model.faithfulness.plots import draw_localisation, draw_randomisation, draw_removal
from explain_deepfakes.explain_model.faithfulness.randomised import randomised_networks
from explain_deepfakes.explain_model.faithfulness.removal import (
    Curves,
    area_under_curve,
    rank_cells,
    removal_curves,
    road_scores,
)
from explain_deepfakes.explain_model.faithfulness.stability import map_correlation, stability_metrics
from explain_deepfakes.explain_model.faithfulness.summary import MAP_METRICS, EvaluationSummary, MapMetrics, summarise
from explain_deepfakes.explain_model.inputs.samples import ExplainedSample, read_true_mask
from explain_deepfakes.explain_model.inputs.test_results import load_tested_network, read_tested_samples
from explain_deepfakes.explain_model.maps.heatmaps import (
    compute_fake_and_real_heatmaps,
    compute_fake_heatmaps,
    relevancy_to_heat,
    resize_to_crop,
)
from explain_deepfakes.explain_model.maps.methods import METHODS, get_map_method, resolve_method_name
from explain_deepfakes.model_test_train.metrics.intervals import Estimate, identity_groups
from explain_deepfakes.model_test_train.networks.input_contract import Image
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import read_index
from explain_deepfakes.pipeline.outputs import write_csv, write_json
from explain_deepfakes.pipeline.progress import track
from explain_deepfakes.preprocessing.corpus.folders import claim, index_for
from explain_deepfakes.preprocessing.crops.crops import read_crops
from explain_deepfakes.preprocessing.crops.stores import read_crop
from explain_deepfakes.preprocessing.video.sampling import evenly_spaced

NOTHING_SHUFFLED = "nothing"
COLUMNS = ("video", "method", "map", *MAP_METRICS)

FaceMaps = dict[str, torch.Tensor]  # name -> heat (h, w), of any resolution


@dataclass(frozen=True)
class FaceUnderTest:
    """A correctly classified fake."""

    sample: ExplainedSample
    crop: Image
    mask: np.ndarray | None
    baseline_input: BaselineInput


def read_faces(network: Network, samples: Sequence[ExplainedSample], seed: int) -> Iterator[FaceUnderTest]:
    """Read one face at a time, to bound the memory; only small copies of all masks are kept."""
    groups = identity_groups([sample.video for sample in samples])
    masks = [None if (mask := read_true_mask(sample)) is None else shrink_mask(mask) for sample in samples]
    for number, sample in enumerate(samples):
        group = groups[sample.video.video]
        other_masks = [
            mask for mask, owner in zip(masks, samples, strict=True) if mask is not None and groups[owner.video.video] != group
        ]
        crop = read_crop(sample.crop.path)
        baseline_input = BaselineInput(crop, other_masks, network.grid[0], seed + number)
        yield FaceUnderTest(sample, crop, read_true_mask(sample), baseline_input)


def baseline_maps(face: FaceUnderTest) -> FaceMaps:
    return {
        name: relevancy_to_heat(torch.from_numpy(baseline(face.baseline_input)).float()[None])[0]
        for name, baseline in BASELINES.items()
    }


def evaluate_batch(
    network: Network, methods: Sequence[str], faces: Sequence[FaceUnderTest], with_road: Sequence[bool], seed: int
) -> Iterator[tuple[MapMetrics, Curves]]:
    """Yield the metrics of each map of each face, and its removal curves."""
    crops = [face.crop for face in faces]
    heats = {name: compute_fake_and_real_heatmaps(network, crops, name) for name in methods}
    stability = {name: stability_metrics(network, crops, name) for name in methods}
    for number, face in enumerate(faces):
        maps = {name: heats[name][0][number] for name in methods} | baseline_maps(face)
        maps_against = {name: heats[name][1][number] for name in methods}
        class_specific = {name: heat for name, heat in maps_against.items() if METHODS[name].is_class_specific}
        rankings, rankings_against = (
            {name: rank_cells(heat, face.baseline_input.grid_side, face.baseline_input.seed) for name, heat in group.items()}
            for group in (maps, class_specific)
        )
        picture = network.input.fit(face.crop)
        curves = removal_curves(network, picture, rankings, seed)
        curves_against = removal_curves(network, picture, rankings_against, seed)
        road = road_scores(network, picture, rankings, seed) if with_road[number] else {}
        for name, heat in maps.items():
            metrics: dict[str, float] = {}
            if face.mask is not None:
                metrics |= localisation_metrics(resize_to_crop(network.input, heat, face.crop), face.mask)
            metrics |= {kind: area_under_curve(curve) for kind, curve in curves[name].items()}
            if road:
                metrics["road"] = road[name]
            if name in maps_against:
                metrics["contrast"] = contrast(
                    *(resize_to_crop(network.input, either, face.crop) for either in (heat, maps_against[name]))
                )
                metrics |= stability[name][number]
            if name in class_specific:
                metrics["deletion_against"] = area_under_curve(curves_against[name]["deletion_grained"])
            yield MapMetrics(face.sample.video.video, face.sample.video.method, name, metrics), curves[name]


def contrast(evidence_for: np.ndarray, evidence_against: np.ndarray) -> float:
    """1 - correlation: 0 for identical maps, 1 for unrelated ones, 2 for opposites."""
    return 1 - map_correlation(evidence_for, evidence_against)


def randomisation_test(network: Network, method: str, faces: Sequence[FaceUnderTest], seed: int) -> Iterator[MapMetrics]:
    """As more layers are shuffled: where the map of each face peaks, and its correlation with the original map."""
    crops = [face.crop for face in faces]
    heats = compute_fake_heatmaps(network, crops, method)
    originals = [resize_to_crop(network.input, heat, crop) for heat, crop in zip(heats, crops, strict=True)]
    for layer, variant in chain([(NOTHING_SHUFFLED, network)], randomised_networks(network, seed)):
        for face, original, heat in zip(faces, originals, compute_fake_heatmaps(variant, crops, method), strict=True):
            randomised = resize_to_crop(network.input, heat, face.crop)
            metrics = {"likeness": map_correlation(original, randomised)}
            if face.mask is not None:
                metrics["peak"] = localisation_metrics(randomised, face.mask)["peak"]
            yield MapMetrics(face.sample.video.video, face.sample.video.method, layer, metrics)


@dataclass
class EvaluationResults:
    maps: list[MapMetrics] = field(default_factory=list)
    randomisation: list[MapMetrics] = field(default_factory=list)
    mean_curves: dict[str, Curves] = field(default_factory=dict)  # by map


def evaluate_maps(
    network: Network, samples: Sequence[ExplainedSample], params: EvaluateExplanationsParams
) -> EvaluationResults:
    """Evaluate all maps of all samples, batch by batch."""
    methods = supported_methods(network, params.methods)
    road_samples = set(evenly_spaced(len(samples), params.road_faces)) if params.road_faces else set()
    results = EvaluationResults()
    batch: list[FaceUnderTest] = []
    faces = track(read_faces(network, samples, params.seed), len(samples), "evaluating", "faces")
    for count, face in enumerate(faces, 1):
        batch.append(face)
        if len(batch) < params.batch_size and count < len(samples):
            continue
        with_road = [number in road_samples for number in range(count - len(batch), count)]
        for metrics, curves in evaluate_batch(network, methods, batch, with_road, params.seed):
            results.maps.append(metrics)
            sums = results.mean_curves.setdefault(metrics.map, {})
            for kind, curve in curves.items():
                sums[kind] = sums.get(kind, 0) + curve / len(samples)
        results.randomisation += randomisation_test(network, methods[0], batch, params.seed)
        batch = []
    return results


def supported_methods(network: Network, names: Sequence[str]) -> list[str]:
    """The methods that the network supports, without duplicates. The first one must be supported: all tests use it."""
    get_map_method(network, names[0])
    return [
        name for name in dict.fromkeys(resolve_method_name(network, name) for name in names) if METHODS[name].supports(network)
    ]


def check_methods(methods: Sequence[str]) -> None:
    if not methods:
        raise UserError("evaluate_explanations.methods is empty; name at least one method, the most important one first")
    if unknown := [name for name in methods if name not in METHODS]:
        raise UserError(f"evaluate_explanations.methods: {unknown[0]} is not known; there are: {', '.join(METHODS)}")


def print_summary(summary: EvaluationSummary, method_description: str) -> None:
    if not summary["faces_with_mask"]:
        return
    print(f"{summary['faces_with_mask']} correctly classified fakes; share of maps whose peak lies in the manipulated region")
    print(f"(first map: {method_description}):")
    for name, metrics in summary["maps"].items():
        has_contrast = "contrast" in metrics
        suffix = f"; contrast with the map against the verdict {metrics['contrast']['value']:.2f}" if has_contrast else ""
        peak, mass = format_percentage(metrics["peak"]), format_percentage(metrics["mass"])
        print(f"  {name:<16}{peak}; relevancy in the region {mass}{suffix}")


def format_percentage(estimate: Estimate) -> str:
    """The estimate with its interval, in percent."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    return f"{value:.1%}" + ("" if low is None else f" ({low:.1%} to {high:.1%})")


def evaluate_explanations(params: EvaluateExplanationsParams, paths: Namespace) -> None:
    check_methods(params.methods)
    network, checkpoint = load_tested_network(paths.model_path, params, params.seed)
    method = supported_methods(network, params.methods)[0]
    index = index_for(paths.crops, paths.index)
    videos, crops = read_index(index), read_crops(paths.crops)
    claim(paths.output_path, index, paths.replace)
    all_samples = read_tested_samples(paths.samples, paths.tests, videos, crops)
    samples = [sample for sample in all_samples if sample.outcome == "TP"]
    if samples:
        results = evaluate_maps(network, samples, params)
    else:
        results = EvaluationResults()
        print(f"none of the {len(all_samples)} samples is a correctly classified fake; there is nothing to evaluate")
    summary = summarise(results.maps, results.randomisation, samples, method, params.bootstrap, params.seed)
    write_csv(paths.output_path / "faces.csv", COLUMNS, (metrics.as_row() for metrics in results.maps))
    write_json(paths.output_path / "metrics.json", summary)
    draw_localisation(paths.output_path / "localisation.png", summary)
    draw_removal(paths.output_path / "removal.png", results.mean_curves)
    draw_randomisation(paths.output_path / "shuffled.png", summary)
    print_summary(summary, get_map_method(network, method).description)
    if checkpoint.warning:
        print(checkpoint.warning)
