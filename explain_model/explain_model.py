"""Stage explain: the samples that test chose -> for each its heatmaps as data, and figures of them.

Reads results/tests and the checkpoint, writes results/explanation. Called next to a folder `examples`, as in the published
way, and not in the project's own folder, it explains the pictures in that.
"""

from pathlib import Path

# Run from inside its folder, this file hides the package of the same name: then it stands in for the package.
__path__ = [str(Path(__file__).parent)]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explain_model.figures.sample_figure import ConceptsFigure, PairFigure, SampleFigure
from explain_model.inputs.samples import EXAMPLES, ExplainedSample, originals_beside, read_examples, true_mask
from explain_model.inputs.test_results import SAMPLES, TESTED, Running, open_network, samples_tested
from explain_model.maps.heatmaps import Heat, Row, concept_heatmaps, confidence, explained, peak
from explain_model.maps.methods import METHODS, method_for
from model_test_train.evaluation import testing
from model_test_train.evaluation.testing import rule_of
from model_test_train.networks.network import Network
from pipeline.errors import run
from pipeline.index import read_index
from pipeline.outputs import atomic_write, write_csv
from pipeline.params import PathFlag, SwitchFlag, load_params, read_command_line, setting
from pipeline.progress import track
from pipeline.project import from_root, root
from preprocessing.corpus.folders import claim, index_for
from preprocessing.crops.crops import Crop, read_crops

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
PART_COLUMNS = ("video", "crop", "part", "weight")
FAILURE_COLUMNS = ("video", "crop", "reason")

MAPS, AGAINST, AS_MADE = "maps", "maps_against", "maps_as_made"


@dataclass(frozen=True)
class Params(Running):
    method: str = setting("how maps are made", choices=tuple(METHODS))
    opacity: float = setting("of the heatmap over the face, where it is strongest", low=0, high=1)


def explain_model(
    network: Network,
    samples: Sequence[ExplainedSample],
    originals: dict[str, Crop],
    output: Path,
    params: Params,
    warning: str | None,
    save_maps: bool = False,
) -> tuple[int, int]:
    """Writes maps and figures of each sample, and the table of them all; returns how many there are, and how many failed."""
    rows: list[Row] = []
    failures: list[Row] = []
    part_rows: list[Row] = []
    drawn = params.opacity, warning, method_for(network, params.method)
    figure, pair_figure = SampleFigure(*drawn), PairFigure(*drawn)
    concepts_figure = ConceptsFigure(params.opacity, warning)
    how = params.method, params.batch_size, failures
    faces = explained(network, [(s.crop, s.called_fake) for s in samples], *how)
    beside = explained(network, [(originals[s.name], True) if s.name in originals else None for s in samples], *how)
    each = track(zip(samples, faces, beside, strict=True), len(samples), "explaining", "faces")
    for sample, face, original in each:
        if face is None:
            continue
        crop, heat = face
        mask = true_mask(sample)
        arrays = {MAPS: heat.spoke_for, AGAINST: heat.spoke_against, AS_MADE: heat.as_made if save_maps else None}
        for folder, array in arrays.items():
            if array is not None:
                with atomic_write(output / folder / f"{sample.name}.npy") as unfinished:
                    np.save(unfinished, array)
        figure.draw(output / _figure_of(sample), sample, crop, heat, mask)
        if original:
            pair = (original[0], crop), (original[1].for_fake, heat.for_fake)
            pair_figure.draw(output / _pair_of(sample), sample, *pair, mask)
        if parts := concept_heatmaps(network, crop):
            concepts_figure.draw(output / "parts" / f"{sample.name}.png", sample, crop, parts)
            part_rows += [{"video": sample.video.video, "crop": sample.crop.name, "part": p, "weight": w} for p, w, _ in parts]
        rows.append(_row(sample, heat, mask, has_pair=original is not None))
    write_csv(output / "explanations.csv", COLUMNS, rows)
    if part_rows:
        write_csv(output / "parts.csv", PART_COLUMNS, part_rows)
    write_csv(output / "failures.csv", FAILURE_COLUMNS, failures)
    return len(rows), len(failures)


def _figure_of(sample: ExplainedSample) -> str:
    return f"figures/{sample.name}.png"


def _pair_of(sample: ExplainedSample) -> str:
    return f"pairs/{sample.name}.png"


def _row(sample: ExplainedSample, heat: Heat, mask: np.ndarray | None, has_pair: bool) -> Row:
    x, y = peak(heat.spoke_for)
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
        "confidence": round(confidence(heat.spoke_for), 6),
        "peak_x": x,
        "peak_y": y,
        "peak_in_mask": "" if mask is None else bool(mask[y, x]),
        "mask_share": "" if mask is None else round(float(mask.mean()), 6),
        "figure": _figure_of(sample),
        "pair": _pair_of(sample) if has_pair else "",
        "map": f"{MAPS}/{sample.name}.npy",
        "map_against": "" if heat.spoke_against is None else f"{AGAINST}/{sample.name}.npy",
    }


def examples_here() -> Path | None:
    """As published: a folder `examples` where the command is called; but not the project's: its stages have no such input."""
    here = Path(EXAMPLES).absolute()
    return here if here.is_dir() and here.parent != root() else None


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "explain",
        Params,
        **TESTED,
        samples=SAMPLES,
        examples=PathFlag(None, "a folder of pictures with their samples table, instead of what was tested"),
        save_maps=SwitchFlag(f"keep each map also as its method made it, unscaled, in {AS_MADE}; the published one as 32x32"),
        output_path=PathFlag(
            None, "where maps and figures go (default: results/explanation; of examples: explanation, beside them)"
        ),
    )
    network, checkpoint = open_network(paths.model_path, params)
    method = method_for(network, params.method)
    if examples := paths.examples or examples_here():
        rule = rule_of(checkpoint, load_params("test", testing.Params))
        samples, originals = read_examples(examples, rule.calibrated(rule.threshold)), {}
        output = paths.output_path or examples.parent / "explanation"
    else:
        index = index_for(paths.crops, paths.index)
        videos, crops = read_index(index), read_crops(paths.crops)
        samples = samples_tested(paths, videos, crops)
        originals = originals_beside(samples, videos, crops)
        output = paths.output_path or from_root("results/explanation")
        claim(output, index, paths.replace)
    done, failed = explain_model(network, samples, originals, output, params, checkpoint.warning, paths.save_maps)
    print(f"{done} faces explained in {output}, by {method.words}")
    if failed:
        print(f"{failed} pictures are missing or broken; {output / 'failures.csv'} says which and why")
    if checkpoint.warning:
        print(checkpoint.warning)


if __name__ == "__main__":
    run(main)
