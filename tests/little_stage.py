"""A stage whose work takes no time, for tests of incremental updates; as a command: FOLDER '{"names": ...}'."""

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.incremental import Outcome, Scope, Shard, StageFolder, VideoTask, failure, update_outputs
from explain_deepfakes.pipeline.index import Video
from explain_deepfakes.pipeline.ledger import key_of
from explain_deepfakes.pipeline.outputs import atomic_write, write_text

NAMES = tuple(f"{method}/{number:03d}" for method in ("Deepfakes", "Original") for number in range(6))
ALL = Scope()
FAILING, KILLING = "Original/002", "Deepfakes/004"


def video(name: str, split: str = "test_set") -> Video:
    return Video(name, name.split("/")[0], 0, split, ("p",), f"{name}.mp4", "", name, "DEMO")


def make_task(video: Video, setting: str) -> VideoTask:
    return VideoTask(
        video, key_of(video.video, setting, video.split), (f"{video.split}/{video.video}", f"../beside/{video.video}")
    )


def make(
    task: VideoTask, folder: Path, setting: str, log: Path, slowly: float = 0, fail: bool = True, kill: bool = False
) -> Outcome:
    """Write a folder of two files, and a file beside it; some videos fail."""
    name = task.video.video
    with log.open("a") as file:
        file.write(name + "\n")
    if fail and name == FAILING:
        return failure(task, "it is broken", "mend it")
    if kill and name == KILLING:
        os.kill(os.getpid(), signal.SIGKILL)
    pictures, beside = task.outputs
    with atomic_write(folder / pictures) as unfinished:
        unfinished.mkdir()
        for picture in ("0_0.png", "1_0.png"):
            (unfinished / picture).write_text(f"{name} {setting} {picture}")
            time.sleep(slowly)
    write_text(folder / beside, setting)
    return Outcome(task, task.outputs, {"crops": 2})


def run_stage(
    root: Path, names=NAMES, setting="a", split="test_set", scope=ALL, allowed=0.5, workers=1, **options
) -> list[str]:
    """Run the stage and return the names of the processed videos."""
    log = root.parent / f"{root.name}.log"
    log.write_text("")
    folder = root / "stage"
    stage_folder = StageFolder(folder, partial(make_task, setting=setting))
    work = partial(make, folder=folder, setting=setting, log=log, **options)
    update_outputs([video(name, split) for name in names], stage_folder, work, "testing", workers, allowed, scope)
    return sorted(log.read_text().split())


def main() -> None:
    options = json.loads(sys.argv[2])
    shard = options.pop("shard", None)
    run_stage(Path(sys.argv[1]), scope=Scope(Shard(*shard) if shard else None, ray=options.pop("ray", None)), **options)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes inherit an ignored SIGINT
    run(main)
