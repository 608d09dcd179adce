"""The web demo as a process of its own, as a user starts it."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import brightness

from nonlocalnet.data.clips import ClipConfig

CLIP = ClipConfig(frames=4, stride=4, crop=64, short_side=(64, 64), test_short_side=64)
LABELS = ["walk", "run <script>alert(1)</script>", "sit"]


def write_model(path: Path, name: str = "nl1_c2d_tiny") -> Path:
    """A small network for the server."""
    return brightness.write_model(path, LABELS, CLIP, name)


@contextmanager
def serving(model: Path, temporary: Path, *options: str) -> Iterator[str]:
    """Starts `nonlocalnet serve`; yields its address; `temporary` takes its files.

    At the end it is interrupted, has to end by itself, and must leave no file.
    """
    temporary.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "nonlocalnet", "serve", "--model", str(model), "--json"]
    command += ["--port", "0", *options]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["address"]
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
    assert [path.name for path in temporary.glob("nonlocalnet-serve-*")] == []


def ask(address: str, body: bytes | None = None, **headers: str) -> tuple[int, dict]:
    """Status and JSON of a GET, or of a POST where there is a body."""
    request = urllib.request.Request(address, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def outcome(address: str, job: str, patience: float = 120) -> dict:
    """The status of a job once it has ended."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        _, said = ask(f"{address}/jobs/{job}")
        if said["state"] in ("done", "failed"):
            return said
        time.sleep(0.1)
    raise TimeoutError(f"job {job} has not ended after {patience} s")
