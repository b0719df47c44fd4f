"""Peak memory of face detection for videos of different length, made by repeating one video.

    python benchmarks/memory.py VIDEO [--minutes 1 60] [--every-frame]

The memory is that of the command and all of its processes, sampled ten times a second. Shared pages are counted once.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import psutil

from explain_deepfakes.pipeline.project import CODE

FRAME_RATE = 25
COMMAND = "preprocessing/detect_faces.py"


def repeat_video(source: Path, target: Path, frames: int) -> None:
    """Repeat the compressed frames of the source without re-encoding them."""
    with av.open(str(source)) as source_file:
        stream = source_file.streams.video[0]
        packets = [
            (bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in source_file.demux(stream) if packet.size
        ]
        times = sorted(pts for _, pts, _, _ in packets)
        tick = min(after - before for before, after in zip(times, times[1:], strict=False))
        with av.open(str(target), "w") as target_file:
            copy = target_file.add_stream_from_template(stream)
            for number in range(frames):
                content, pts, dts, is_keyframe = packets[number % len(packets)]
                offset = number // len(packets) * len(packets) * tick
                packet = av.Packet(content)
                packet.pts, packet.dts, packet.is_keyframe = pts + offset, dts + offset, is_keyframe
                packet.time_base, packet.stream = stream.time_base, copy
                target_file.mux(packet)


def run_and_sample_memory(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and peak memory (MB)."""
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        peak = max(peak, memory_of(psutil.Process(process.pid)))
        time.sleep(0.1)
    if process.returncode:
        sys.exit(process.stderr.read() if process.stderr else 1)
    return time.perf_counter() - start, peak / 1e6


def memory_of(parent: psutil.Process) -> int:
    """Bytes that the process and its descendants use; shared pages are counted once."""
    total = 0
    try:
        for process in (parent, *parent.children(recursive=True)):
            total += process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        pass  # a process ended in the meantime
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("video", type=Path, help="video to repeat")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 60], help="lengths of the repeated video")
    parser.add_argument("--every-frame", action="store_true", help="detect faces in every frame")
    args = parser.parse_args()
    print(f"{'minutes':>8}{'frames':>9}{'seconds':>9}{'peak MB':>9}")
    for minutes in args.minutes:
        frames = round(minutes * 60 * FRAME_RATE)
        with tempfile.TemporaryDirectory() as folder:
            videos = Path(folder) / "real"
            videos.mkdir()
            repeat_video(args.video, videos / "long.mkv", frames)
            corpus = ["--data_path", folder, "--dataset", "FOLDER"]
            mode = ["--every-frame"] if args.every_frame else []
            command = [sys.executable, str(CODE / COMMAND), *corpus, "--workers", "1", *mode]
            seconds, peak = run_and_sample_memory(command)
        print(f"{minutes:>8g}{frames:>9}{seconds:>9.0f}{peak:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
