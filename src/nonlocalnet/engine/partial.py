"""A test that was killed goes on where it was: what it found so far, kept beside its results.

results.partial.jsonl: a line {"test": KEY}, then a line for each video, {"index", "scores",
"clips"}, written as soon as the video is scored. Other processes of the same test write to
results.partial.1.jsonl and so on. Numbers are written so that they read back bit for bit.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nonlocalnet.data.check import written
from nonlocalnet.data.folder import Sample
from nonlocalnet.engine.processes import everyone, place


class Scored(NamedTuple):
    """What a test found for one video."""

    scores: Tensor  # (classes,) float32
    clips: list[int]
    """Rank of the true label by each view alone, 0 = first; [] where there may be several."""


class Partial:
    """The unfinished part of a test.

    Args:
        results: Where its results will be written.
    """

    def __init__(self, results: str | Path) -> None:
        results = Path(results)
        self.folder, self.name = results.parent, f"{results.stem}.partial"
        rank, _ = place()
        self.own = self.folder / f"{self.name}{f'.{rank}' if rank else ''}.jsonl"

    def begin(self, key: str) -> dict[int, Scored]:
        """What all processes have found, by index, if it was in the test of this key."""
        head, found = {"test": key}, {}
        for file in self._files():
            rows, _ = _rows(file)
            if rows[:1] == [head]:
                for row in rows[1:]:
                    found[row["index"]] = Scored(torch.tensor(row["scores"]), row["clips"])
        found = everyone(found)  # from here on nobody reads
        rows, size = _rows(self.own) if self.own.exists() else ([], 0)
        if rows[:1] == [head]:
            os.truncate(self.own, size)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.own.write_text(json.dumps(head) + "\n", encoding="utf-8")
        return found

    def append(self, index: int, found: Scored) -> None:
        """Keeps what was found for the video of that index."""
        row = {"index": index, "scores": found.scores.tolist(), "clips": found.clips}
        with self.own.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def remove(self) -> None:
        """Once the results are written."""
        for file in self._files():
            file.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        pattern = re.compile(re.escape(self.name) + r"(\.\d+)?\.jsonl")
        here = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(path for path in here if pattern.fullmatch(path.name))


def key_of(model: nn.Module, samples: Sequence[Sample], *rest: Any) -> str:
    """A fingerprint of a test: the network with its weights, the videos, and how they are seen.

    Args:
        model: The network.
        samples: The videos; a file that was written anew is another one.
        *rest: Whatever else the scores follow from; what `repr` says of it counts.
    """
    files = [written(sample.video.path) for sample in samples]
    about = (getattr(model, "config", repr(model)), list(samples), files, *rest)
    digest = hashlib.sha256(repr((*about, torch.__version__)).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.device}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _rows(file: Path) -> tuple[list[dict[str, Any]], int]:
    """The rows of a file, and the bytes that they take; a line that was torn ends them."""
    rows, size = [], 0
    for line in file.read_bytes().splitlines(keepends=True):
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        rows.append(row)
        size += len(line)
    return rows, size
