"""A Python file with `predict(path) -> float` as a detector, in a process of its own: it can neither crash nor change ours."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from explain_deepfakes.pipeline.errors import UserError

# Whatever the file prints goes to stderr; the answers have a pipe of their own.
WORKER_SCRIPT = """
import json, os, runpy, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[1])))
predict = runpy.run_path(sys.argv[1]).get("predict")
print(json.dumps(callable(predict)), file=answers, flush=True)
for line in sys.stdin:
    try:
        answer = {"score": float(predict(json.loads(line)))}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=answers, flush=True)
"""


class FailedScore(Exception):
    """The detector has no score for a file; the message says why."""


class PythonDetector:
    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise UserError(f"there is no file {file}")
        self.file = file
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-c", WORKER_SCRIPT, str(self.file)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.requests, self.answers = cast(IO[str], self.process.stdin), cast(IO[str], self.process.stdout)
        has_predict = self.answers.readline().strip()
        if has_predict != "true":
            self.close()
            problem = "has no function predict(path)" if has_predict else "could not be run; its error is above"
            raise UserError(f"{self.file} {problem}")

    def score(self, video: Path) -> float:
        """The fake probability of a file. Raises FailedScore if the function fails, or if its process dies."""
        try:
            print(json.dumps(str(video)), file=self.requests, flush=True)
            line = self.answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self.close()
            self._start()
            raise FailedScore(f"the process of {self.file.name} died with status {status}")
        answer = json.loads(line)
        if "error" in answer:
            raise FailedScore(answer["error"])
        score = float(answer["score"])
        if not 0 <= score <= 1:
            raise FailedScore(f"predict returned {score:g}, which is no probability between 0 and 1")
        return score

    def close(self) -> int:
        """Let the process end, and return its status."""
        with suppress(BrokenPipeError):
            self.requests.close()
        status = self.process.wait()
        self.answers.close()
        return status


@contextmanager
def python_detector(file: Path) -> Iterator[PythonDetector]:
    detector = PythonDetector(file)
    try:
        yield detector
    finally:
        detector.close()
