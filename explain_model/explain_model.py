"""Stage explain: the samples selected by the stage test -> heatmaps as arrays, and figures of them.

Reads results/tests and the checkpoint, writes results/explanation. If the current folder is not the project's own and contains
a folder `examples`, as in the published implementation, the pictures in that are explained instead.
"""

from pathlib import Path

# When started from inside its folder, this module shadows the package of the same name; __path__ makes it act as the package.
__path__ = [str(Path(__file__).parent)]

from explain_deepfakes.explain_model.figures.params import UNSCALED_MAPS, ExplainParams
from explain_deepfakes.explain_model.inputs.params import SAMPLES_FLAG, TEST_FLAGS
from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import PathFlag, SwitchFlag, read_command_line


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "explain",
        ExplainParams,
        **TEST_FLAGS,
        samples=SAMPLES_FLAG,
        examples=PathFlag(None, "folder of pictures with their samples table, to explain instead of the tested samples"),
        save_maps=SwitchFlag(f"also save each map on its method's own scale and resolution, in {UNSCALED_MAPS}"),
        output_path=PathFlag(
            None, "output folder (default: results/explanation; for examples: explanation, next to their folder)"
        ),
    )
    from explain_deepfakes.explain_model.figures.explanation import explain_samples

    explain_samples(params, paths)


if __name__ == "__main__":
    run(main)
