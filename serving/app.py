"""HTTP server: upload a file, follow its job, and get the verdict, report and heatmaps. A web page at / uses the API.

    python serving/app.py [--port 8000] [--model_path CHECKPOINT]

By default it accepts connections from this machine only. With another --host, use --tokens, a file with one token a line.
"""

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import PathFlag, Section, SwitchFlag, read_command_line
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.serving.api.params import ServerParams


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "serve",
        ServerParams,
        model_path=PathFlag(None, "checkpoint, or .json file of an ensemble (default: the detector shipped with the project)"),
        tokens=PathFlag(None, "file of tokens; every request must then send one of them"),
        demo=SwitchFlag("use the demo network of `make repro`, and allow a --model_path never trained on real faces"),
        jobs=PathFlag("data/jobs", "folder for jobs and their files"),
        reading=Section("read_video", ReadingParams),
    )
    from explain_deepfakes.serving.api.server import serve

    serve(params, paths)


if __name__ == "__main__":
    run(main)
