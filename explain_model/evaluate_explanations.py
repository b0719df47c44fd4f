"""Stage evaluate_explanations: the fakes that were judged right -> how far the heatmaps can be trusted.

Beside the network's maps, by each method, stand maps that know nothing of it. Writes results/explanation_evaluation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from explain_model.faithfulness.baselines import FLOORS, FaceToGuess, small_mask
from explain_model.faithfulness.localisation import FIGURES, located
from explain_model.faithfulness.plots import draw_localisation, draw_randomised, draw_removal
from explain_model.faithfulness.randomised import randomised
from explain_model.faithfulness.removal import curves, order_of, road, under
from explain_model.faithfulness.stability import STABILITY, likeness, stability
from explain_model.inputs.samples import ExplainedSample, true_mask
from explain_model.inputs.test_results import SAMPLES, TESTED, Running, open_network, samples_tested
from explain_model.maps.heatmaps import Row, heat_of, heats_for_and_against_fake, heats_for_fake, over_crop
from explain_model.maps.methods import METHODS, method_for, named_for
from model_test_train.metrics.intervals import NOTHING, Figure, drawn_weights, identity_groups, with_interval
from model_test_train.networks.input_contract import Image
from model_test_train.networks.network import Network
from pipeline.errors import UserError, run
from pipeline.index import read_index
from pipeline.outputs import write_csv, write_json
from pipeline.params import PathFlag, read_command_line, setting
from pipeline.progress import track
from preprocessing.corpus.folders import claim, index_for
from preprocessing.crops.crops import read_crops
from preprocessing.crops.stores import read_crop
from preprocessing.video.sampling import evenly_spaced

AS_IT_IS = "nothing"
REMOVAL = ("deletion_blurred", "insertion_blurred", "deletion_grained", "insertion_grained", "road")
CONTRAST = ("contrast", "deletion_against")
COLUMNS = ("video", "method", "map", *FIGURES, *REMOVAL, *CONTRAST, *STABILITY)

Maps = dict[str, torch.Tensor]  # name -> heat (h, w), of any resolution


@dataclass(frozen=True)
class Params(Running):
    methods: tuple[str, ...] = setting(f"maps to measure, as far as the network has them: {', '.join(METHODS)}")
    road_faces: int = setting("that the slow ROAD is done for, of them all, equidistant", low=0)
    bootstrap: int = setting("draws behind each 95 %% interval", low=0)
    seed: int = setting("of all that is drawn at random", low=0)


@dataclass(frozen=True)
class Face:
    """A fake that was judged right."""

    sample: ExplainedSample
    crop: Image
    mask: np.ndarray | None
    guess: FaceToGuess


def faces_of(network: Network, samples: Sequence[ExplainedSample], seed: int) -> Iterator[Face]:
    """One after the other, so that memory does not grow with them; of the masks small copies are kept."""
    groups = identity_groups([sample.video for sample in samples])
    masks = [None if (mask := true_mask(sample)) is None else small_mask(mask) for sample in samples]
    for number, sample in enumerate(samples):
        group = groups[sample.video.video]
        others = [m for m, o in zip(masks, samples, strict=True) if m is not None and groups[o.video.video] != group]
        crop = read_crop(sample.crop.path)
        guess = FaceToGuess(crop, others, network.grid[0], seed + number)
        yield Face(sample, crop, true_mask(sample), guess)


def floor_heats(face: Face) -> Maps:
    return {name: heat_of(torch.from_numpy(floor(face.guess)).float()[None])[0] for name, floor in FLOORS.items()}


def measured(
    network: Network, methods: Sequence[str], faces: Sequence[Face], with_road: Sequence[bool], seed: int
) -> Iterator[tuple[Row, dict[str, np.ndarray]]]:
    """Of a batch of faces, each map's figures, and the curves behind some of them."""
    crops = [face.crop for face in faces]
    by_method = {name: heats_for_and_against_fake(network, crops, name) for name in methods}
    stable = {name: stability(network, crops, name) for name in methods}
    for place, face in enumerate(faces):
        maps = {name: by_method[name][0][place] for name in methods} | floor_heats(face)
        others = {name: by_method[name][1][place] for name in methods}
        against = {name: heat for name, heat in others.items() if METHODS[name].is_class_specific}
        places = face.guess.places
        orders, orders_against = (
            {name: order_of(heat, places, face.guess.seed) for name, heat in some.items()} for some in (maps, against)
        )
        fitted = network.input.fit(face.crop)
        removed = curves(network, fitted, orders, seed)
        against_removed = curves(network, fitted, orders_against, seed)
        filled_in = road(network, fitted, orders, seed) if with_road[place] else {}
        for name, heat in maps.items():
            row: Row = {"video": face.sample.video.video, "method": face.sample.video.method, "map": name}
            if face.mask is not None:
                row |= located(over_crop(network.input, heat, face.crop), face.mask)
            row |= {what: under(curve) for what, curve in removed[name].items()}
            row |= {"road": filled_in[name]} if filled_in else {}
            if name in others:
                row["contrast"] = contrast(*(over_crop(network.input, one, face.crop) for one in (heat, others[name])))
                row |= stable[name][place]
            if name in against:
                row["deletion_against"] = under(against_removed[name]["deletion_grained"])
            yield row, removed[name]


def contrast(spoke_for: np.ndarray, spoke_against: np.ndarray) -> float:
    """From 0 for two maps that are the same, over 1 for two that have nothing to do with each other, to 2 for opposites."""
    return 1 - likeness(spoke_for, spoke_against)


def falls_apart(network: Network, method: str, faces: Sequence[Face], seed: int) -> Iterator[Row]:
    """A batch of faces by ever more random networks: where the map peaks, and how much it is like the true one."""
    crops = [face.crop for face in faces]
    before = [
        over_crop(network.input, heat, crop) for heat, crop in zip(heats_for_fake(network, crops, method), crops, strict=True)
    ]
    for name, random in chain([(AS_IT_IS, network)], randomised(network, seed)):
        for face, true, heat in zip(faces, before, heats_for_fake(random, crops, method), strict=True):
            found = over_crop(network.input, heat, face.crop)
            row: Row = {"video": face.sample.video.video, "map": name, "likeness": likeness(true, found)}
            yield row | ({"peak": located(found, face.mask)["peak"]} if face.mask is not None else {})


@dataclass
class Measured:
    """All rows, and of each map the mean curves."""

    rows: list[Row]
    random_rows: list[Row]
    curves: dict[str, dict[str, np.ndarray]]


def measure_all(network: Network, samples: Sequence[ExplainedSample], params: Params) -> Measured:
    """Batch by batch."""
    methods = methods_of(network, params.methods)
    in_road = set(evenly_spaced(len(samples), params.road_faces)) if params.road_faces else set()
    found = Measured([], [], {})
    faces: list[Face] = []
    for number, face in enumerate(track(faces_of(network, samples, params.seed), len(samples), "measuring", "faces"), 1):
        faces.append(face)
        if len(faces) < params.batch_size and number < len(samples):
            continue
        with_road = [place in in_road for place in range(number - len(faces), number)]
        for row, of_row in measured(network, methods, faces, with_road, params.seed):
            found.rows.append(row)
            sums = found.curves.setdefault(row["map"], {})
            for what, curve in of_row.items():
                sums[what] = sums.get(what, 0) + curve / len(samples)
        found.random_rows += falls_apart(network, methods[0], faces, params.seed)
        faces = []
    return found


def table_of(rows: Sequence[Row], figures: Sequence[str], groups: dict[str, int], draws: int, seed: int) -> dict[str, Any]:
    """For each map, in the rows' order, each figure with its interval over groups of identities."""
    names = list(dict.fromkeys(row["map"] for row in rows))
    table: dict[str, Any] = {}
    for name in names:
        table[name] = {}
        for figure in figures:
            known = [row for row in rows if row["map"] == name and not np.isnan(row.get(figure, np.nan))]
            if known:
                values = np.array([row[figure] for row in known], float)
                of_groups = np.array([groups[row["video"]] for row in known])
                table[name][figure] = mean_of(values, of_groups, draws, seed)
    return table


def mean_of(values: np.ndarray, groups: np.ndarray, draws: int, seed: int) -> Figure:
    drawn = [weights @ values / weights.sum(1) for weights in drawn_weights(groups, draws, seed)]
    return with_interval(float(values.mean()), np.concatenate([NOTHING, *drawn]))


def summary_of(found: Measured, samples: Sequence[ExplainedSample], method: str, params: Params) -> dict[str, Any]:
    groups = identity_groups([sample.video for sample in samples])
    how = groups, params.bootstrap, params.seed
    manipulations = sorted({sample.video.method for sample in samples})
    return {
        "method": method,
        "faces": len(samples),
        "faces_with_mask": sum(sample.crop.mask is not None for sample in samples),
        "maps": table_of(found.rows, (*FIGURES, *REMOVAL, *CONTRAST, *STABILITY), *how),
        "by_manipulation": {
            name: {
                "faces": sum(sample.video.method == name for sample in samples),
                "maps": table_of([row for row in found.rows if row["method"] == name], tuple(FIGURES), *how),
            }
            for name in manipulations
        },
        "shuffled": table_of(found.random_rows, ("peak", "likeness"), *how),
    }


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "evaluate_explanations",
        Params,
        **TESTED,
        samples=SAMPLES,
        output_path=PathFlag("results/explanation_evaluation", "where figures and plots go"),
    )
    check_methods(params.methods)
    network, checkpoint = open_network(paths.model_path, params, params.seed)
    method = methods_of(network, params.methods)[0]
    index = index_for(paths.crops, paths.index)
    videos, crops = read_index(index), read_crops(paths.crops)
    claim(paths.output_path, index, paths.replace)
    listed = samples_tested(paths, videos, crops)
    samples = [sample for sample in listed if sample.outcome == "TP"]
    if samples:
        found = measure_all(network, samples, params)
    else:
        found = Measured([], [], {})
        print(f"none of the {len(listed)} samples is a fake that was judged right; there is nothing to measure")
    measured_figures = summary_of(found, samples, method, params)
    write_csv(paths.output_path / "faces.csv", COLUMNS, found.rows)
    write_json(paths.output_path / "metrics.json", measured_figures)
    draw_localisation(paths.output_path / "localisation.png", measured_figures)
    draw_removal(paths.output_path / "removal.png", found.curves)
    draw_randomised(paths.output_path / "shuffled.png", measured_figures)
    say(measured_figures, method_for(network, method).words)
    if checkpoint.warning:
        print(checkpoint.warning)


def methods_of(network: Network, names: Sequence[str]) -> list[str]:
    """Those of them that the network has, each once."""
    method_for(network, names[0])  # which is the one that is measured most closely
    return [name for name in dict.fromkeys(named_for(network, name) for name in names) if METHODS[name].fits(network)]


def check_methods(methods: Sequence[str]) -> None:
    if not methods:
        raise UserError("evaluate_explanations.methods is empty; the first of them is measured most closely")
    if unknown := [name for name in methods if name not in METHODS]:
        raise UserError(f"evaluate_explanations.methods: {unknown[0]} is not known; there are: {', '.join(METHODS)}")


def say(table: dict[str, Any], words: str) -> None:
    if not table["faces_with_mask"]:
        return
    print(f"{table['faces_with_mask']} fakes judged right; the peak lies in the changed region ({words} comes first):")
    for name, figures in table["maps"].items():
        apart = f"; contrast to the map against it {figures['contrast']['value']:.2f}" if "contrast" in figures else ""
        print(f"  {name:<16}{told(figures['peak'])}   of the relevancy, {told(figures['mass'])} lies there{apart}")


def told(figure: Figure) -> str:
    value, low, high = figure["value"], figure["low"], figure["high"]
    return f"{value:.1%}" + ("" if low is None else f" ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    run(main)
