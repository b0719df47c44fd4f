"""Stage report: metrics, plots and heatmaps -> results/report/index.html, a single page that works offline."""

from explain_deepfakes.explain_model.figures.params import ReportParams
from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import PathFlag, read_command_line


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "report",
        ReportParams,
        models=PathFlag("data/models", "output folder of the stage train"),
        tests=PathFlag("results/tests", "output folder of the stage test"),
        explanation=PathFlag("results/explanation", "output folder of the stage explain"),
        videos=PathFlag("results/explained_videos", "output folder of the stage explain_videos"),
        evaluation=PathFlag("results/explanation_evaluation", "output folder of the stage evaluate_explanations"),
        output_path=PathFlag("results/report", "output folder of the page"),
    )
    from explain_deepfakes.explain_model.figures.report import write_report

    write_report(params, paths)


if __name__ == "__main__":
    run(main)
