"""Fixtures shared by all floors."""

import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line; before torch is there

import numpy as np
import pytest
from videos import write_video

DIRECTIONS = ("down", "up")


def moving_bar(direction: str, seed: int, frames: int = 24) -> list[np.ndarray]:
    """A white bar that moves down or up over noise: told apart by anything that sees time."""
    rng = np.random.default_rng(seed)
    step = 2 if direction == "down" else -2
    top = int(rng.integers(0, 48))
    pictures = []
    for i in range(frames):
        picture = rng.integers(60, 120, (48, 64, 3)).astype(np.uint8)
        y = (top + step * i) % 48
        picture[y : y + 6] = 240
        pictures.append(picture)
    return pictures


@pytest.fixture(scope="session")
def bars(tmp_path_factory):
    """A folder of two classes, 8 videos each, with a videos.csv that names the split."""
    root = tmp_path_factory.mktemp("bars")
    rows = ["path,label,split"]
    for direction in DIRECTIONS:
        for i in range(8):
            name = f"{direction}/{i}.mp4"
            write_video(root / name, moving_bar(direction, 10 * i + len(direction)))
            rows.append(f"{name},{direction},{'test' if i < 3 else 'train'}")
    (root / "videos.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The built site of docs/; a link or a name that leads nowhere is a warning, and fails."""
    out = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(out)]
    done = subprocess.run(
        build,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out
