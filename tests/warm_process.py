"""Run Python modules as programs, each in a process of its own that starts with the heavy libraries imported.

Importing MONAI and its companions takes several seconds of processor time, which a fresh interpreter spends for every
run. Here one process imports them once and forks a child for each run. Everything else is as in a fresh interpreter:
the child has its own arguments, folder, environment, output files and exit status.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

PRELOADED = (
    "torch monai.bundle monai.engines monai.handlers ignite.engine mlflow transformers open_clip pandas cv2".split()
)


class WarmProcess:
    """The client: starts the process that forks, at the first run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server: subprocess.Popen[str] | None = None

    def run(self, module: str, *arguments: object, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """What `python -m MODULE ARGUMENTS` does: exit status and output."""
        if self.server is None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self.server = subprocess.Popen(
                [sys.executable, __file__], text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, **pipes
            )
        job = {"module": module, "arguments": [str(word) for word in arguments], "cwd": str(cwd), "env": env}
        for name in ("stdout", "stderr"):
            job[name] = str(self.folder / name)
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        answer = self.server.stdout.readline()
        assert answer, "the process that forks has ended"
        shown = [Path(job[name]).read_text(encoding="utf-8", errors="replace") for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess([module, *job["arguments"]], int(answer), *shown)

    def close(self) -> None:
        """End the process; it leaves when its input ends."""
        if self.server is not None:
            self.server.stdin.close()
            self.server.wait(timeout=60)


def serve() -> dict | None:
    """Answer each job with the exit status of a forked child. In the child, return the job; at the end, None."""
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            return job
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def become(job: dict) -> None:
    """Run the job's module in this process, as the interpreter would."""
    for number, name in ((0, os.devnull), (1, job["stdout"]), (2, job["stderr"])):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(name, flags, 0o600), number)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    sys.path[0] = job["cwd"]
    sys.argv[1:] = job["arguments"]
    runpy.run_module(job["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for preloaded in PRELOADED:
        importlib.import_module(preloaded)
    gc.freeze()  # a child's collections leave alone what was imported, and so share its memory
    asked = serve()
    if asked is not None:
        become(asked)
