"""Stage explain_videos: tested videos -> annotated copies, with a timeline of the scores and a contact sheet of the faces.

Reads results/tests, the crops and the videos; writes results/explained_videos.
"""

from explain_deepfakes.explain_model.figures.params import ExplainVideosParams
from explain_deepfakes.explain_model.inputs.params import TEST_FLAGS
from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import PathFlag, Section, TextFlag, read_command_line
from explain_deepfakes.preprocessing.video.params import ReadingParams


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "explain_videos",
        ExplainVideosParams,
        videos=TextFlag("names of tested videos (Method/stem), separated by commas"),
        **TEST_FLAGS,
        output_path=PathFlag("results/explained_videos", "output folder; each video gets a folder in it"),
        reading=Section("read_video", ReadingParams),
    )
    from explain_deepfakes.explain_model.figures.explained_videos import explain_videos

    explain_videos(params, paths)


if __name__ == "__main__":
    run(main)
