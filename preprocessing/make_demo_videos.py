"""Stage make_demo_videos: render a synthetic deepfake corpus in the folder layout of FaceForensics++.

Needs no data: drawn people move and talk in front of a simulated noisy camera, and each has five fakes with ground-truth
masks. Real and fake videos pass the same steps: they are drawn, recorded, (manipulated,) and encoded.

    original_sequences/youtube/c23/videos/<id>.mp4
    manipulated_sequences/<Method>/c23/videos/<target>_<source>.mp4
    manipulated_sequences/<Method>/masks/videos/<target>_<source>.mp4
    splits/{train,val,test}.json

The ledger `demo_videos.jsonl` beside them records the generated files. Other videos may be added, and are never touched.
"""

from explain_deepfakes.pipeline import errors
from explain_deepfakes.pipeline.params import PathFlag, read_command_line
from explain_deepfakes.preprocessing.demo_corpus.params import DemoVideoParams


def main() -> None:
    params, args = read_command_line(
        __doc__,
        "make_demo_videos",
        DemoVideoParams,
        output_path=PathFlag("data/videos", "output folder of the corpus"),
    )
    from explain_deepfakes.preprocessing.demo_corpus.corpus import make_demo_videos

    make_demo_videos(args.output_path, params)


if __name__ == "__main__":
    errors.run(main)
