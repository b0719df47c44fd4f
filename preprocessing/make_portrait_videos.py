"""Stage make_portrait_videos: a folder of portraits -> real and fake videos of these people, with ground-truth masks.

For users who have suitable photographs of faces, but no videos. Each portrait is animated, and up to eight manipulations are
applied to the same frames. A real video and its fakes are encoded in the same way. The folder layout is that of
FaceForensics++ (docs/portraits.md):

    original_sequences/youtube/c23/videos/<id>.mp4
    manipulated_sequences/<Method>/c23/videos/<target>_<source>.mp4
    manipulated_sequences/<Method>/masks/videos/<target>_<source>.mp4
    splits/{train,val,test}.json, portraits.csv, failures.csv

The ledger `portrait_videos.jsonl` beside them records the generated files; an interrupted run is resumed.
"""

from explain_deepfakes.pipeline import errors
from explain_deepfakes.pipeline.params import PathFlag, read_command_line
from explain_deepfakes.preprocessing.portrait_corpus.params import PortraitVideoParams


def main() -> None:
    params, args = read_command_line(
        __doc__,
        "make_portrait_videos",
        PortraitVideoParams,
        output_path=PathFlag("data/portrait_videos", "output folder of the corpus"),
    )
    from explain_deepfakes.preprocessing.portrait_corpus.corpus import make_portrait_videos

    make_portrait_videos(args.output_path, params)


if __name__ == "__main__":
    errors.run(main)
