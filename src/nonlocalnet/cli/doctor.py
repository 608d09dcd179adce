"""`nonlocalnet doctor`: what is installed, what is not and why, and whether it works."""

import importlib
import json
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version

HELP = """Versions, optional parts, and a short decode and forward check; paste it into a report.

Example: nonlocalnet doctor"""

PARTS = {
    "torch": ("the networks", "torch"),
    "safetensors": ("model files", "safetensors"),
    "av": ("reading videos", "nonlocalnet[video]"),
    "lightning": ("training", "nonlocalnet[train]"),
    "matplotlib": ("pictures", "nonlocalnet[viz]"),
    "torchvision": ("detection", "nonlocalnet[detection]"),
    "faster_coco_eval": ("average precision of COCO", "nonlocalnet[detection]"),
    "onnxruntime": ("export", "nonlocalnet[export]"),
}


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(options) -> int:
    """Prints the report; exit code 0 whatever optional part is missing."""
    report = {
        "nonlocalnet": version("nonlocalnet"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "parts": {name: _part(name, *what) for name, what in PARTS.items()},
        "devices": _devices(),
        "readers": {name: _reader(name) for name in ("pyav", "torchcodec", "opencv")},
        "decode": _decode_check(),
        "forward": _forward_check(),
    }
    if options.json:
        print(json.dumps(report, indent=1))
        return 0
    for key in ("nonlocalnet", "python", "system", "devices"):
        print(f"{key:<12} {report[key]}")
    for name, state in report["parts"].items():
        print(f"{name:<12} {state}")
    for name, state in report["readers"].items():
        print(f"{'reader ' + name:<18} {state}")
    for key in ("decode", "forward"):
        print(f"{key:<12} {report[key]}")
    return 0


def _part(name: str, purpose: str, package: str) -> str:
    try:
        importlib.import_module(name)
        return version(name)
    except PackageNotFoundError:
        return "present, version unknown"
    except Exception as error:  # a broken library is a finding, whatever it raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"no {purpose}: {reason}; run: {sys.executable} -m pip install '{package}'"


def _reader(name: str) -> str:
    from nonlocalnet.data.optional import MissingLibrary
    from nonlocalnet.data.video import READERS

    try:
        importlib.import_module(READERS[name]).library()
    except MissingLibrary as error:
        return str(error)
    return "ok"


def _devices() -> str:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"CPU with {torch.get_num_threads()} threads, {', '.join(gpus) or 'no GPU'}"


def _decode_check() -> str:
    """Encodes two seconds of video in memory's place, decodes them, and says how fast."""
    import tempfile
    from pathlib import Path

    from nonlocalnet.data.longrange import FPS, render, scene
    from nonlocalnet.data.video import open_video, read_frames
    from nonlocalnet.data.writing import write_frames

    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "check.mp4"
            write_frames(path, render(scene(seed=0, index=0, label="disc")), FPS)
            began = time.perf_counter()
            video = open_video(path)
            frames = read_frames(video, range(video.frames))
            rate = len(frames) / (time.perf_counter() - began)
    except ValueError as error:
        return str(error)
    return f"ok, {rate:.0f} frames per second at {video.width}x{video.height} px (PyAV)"


def _forward_check() -> str:
    import torch

    from nonlocalnet.models.zoo import build

    torch.manual_seed(0)
    model = build("nl1_i3d_tiny", 10).eval()
    x = torch.randn(1, 3, 16, 64, 64)
    with torch.no_grad():
        began = time.perf_counter()
        finite = bool(model(x).isfinite().all())
        for _ in range(3):
            model(x)
    milliseconds = 250 * (time.perf_counter() - began)
    return f"{'ok' if finite else 'NOT FINITE'}, {milliseconds:.0f} ms per clip (nl1_i3d_tiny)"
