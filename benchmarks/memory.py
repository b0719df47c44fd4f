"""Peak memory of detection, whatever the video's length: one video played over and over, for a minute and for an hour.

    python benchmarks/memory.py VIDEO [--minutes 1 60] [--every-frame]

The memory is that of the command and all its processes together, each shared page counted once, looked at ten times a
second.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import psutil

from pipeline.project import CODE

FRAME_RATE = 25
COMMAND = "preprocessing/detect_faces.py"


def play_over_and_over(source: Path, target: Path, frames: int) -> None:
    """The source's compressed frames as they are, again and again."""
    with av.open(str(source)) as opened:
        stream = opened.streams.video[0]
        packets = [
            (bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in opened.demux(stream) if packet.size
        ]
        times = sorted(pts for _, pts, _, _ in packets)
        tick = min(b - a for a, b in zip(times, times[1:], strict=False))
        with av.open(str(target), "w") as made:
            copy = made.add_stream_from_template(stream)
            for number in range(frames):
                content, pts, dts, is_keyframe = packets[number % len(packets)]
                played = number // len(packets) * len(packets) * tick
                packet = av.Packet(content)
                packet.pts, packet.dts, packet.is_keyframe = pts + played, dts + played, is_keyframe
                packet.time_base, packet.stream = stream.time_base, copy
                made.mux(packet)


def peak_of(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MB of a command."""
    begun, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        peak = max(peak, memory_of(psutil.Process(process.pid)))
        time.sleep(0.1)
    if process.returncode:
        sys.exit(process.stderr.read() if process.stderr else 1)
    return time.perf_counter() - begun, peak / 1e6


def memory_of(parent: psutil.Process) -> int:
    total = 0
    try:
        for process in (parent, *parent.children(recursive=True)):
            total += process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        pass  # it ended while it was looked at
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 60])
    parser.add_argument("--every-frame", action="store_true")
    given = parser.parse_args()
    print(f"{'minutes':>8}{'frames':>9}{'seconds':>9}{'peak MB':>9}")
    for minutes in given.minutes:
        frames = round(minutes * 60 * FRAME_RATE)
        with tempfile.TemporaryDirectory() as folder:
            videos = Path(folder) / "real"
            videos.mkdir()
            play_over_and_over(given.video, videos / "long.mkv", frames)
            mode = ["--every-frame"] if given.every_frame else []
            command = [
                sys.executable,
                str(CODE / COMMAND),
                "--data_path",
                folder,
                "--dataset",
                "FOLDER",
                "--workers",
                "1",
                *mode,
            ]
            seconds, peak = peak_of(command)
        print(f"{minutes:>8g}{frames:>9}{seconds:>9.0f}{peak:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
