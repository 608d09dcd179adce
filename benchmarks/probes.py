"""What a linear classifier makes of a labelled set without any network: the floor to stand above.

Four descriptions of a video, from 32 evenly spread grey frames of 96 px: its middle frame, the mean
frame, the absolute differences of neighbouring frames summed up, and those in four parts of the
video one after the other. Each goes to a logistic regression (scikit-learn), trained and tested on
the set's own split; its penalty is chosen on the training people, each left out in turn.

Command  python benchmarks/probes.py ../shared/data/utd-mhad-depth
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold

from nonlocalnet.data.folder import Sample, read_folder
from nonlocalnet.data.video import read_frames
from nonlocalnet.engine.statistics import bootstrap, interval

FRAMES, SIDE, SEGMENTS = 32, 96, 4
PENALTIES = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]


def grey_frames(sample: Sample, side: int = SIDE) -> np.ndarray:  # (FRAMES, side, side) in [0, 1]
    numbers = np.linspace(0, sample.video.frames - 1, FRAMES).round().astype(int)
    found, rows = np.unique(numbers, return_inverse=True)
    frames = read_frames(sample.video, found, side)[rows].mean(-1) / 255
    top, left = ((length - side) // 2 for length in frames.shape[1:])
    return frames[:, top : top + side, left : left + side].astype(np.float32)


def differences(frames: np.ndarray) -> np.ndarray:
    return abs(np.diff(frames, axis=0))


PROBES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "middle frame": lambda frames: frames[len(frames) // 2],
    "mean frame": lambda frames: frames.mean(0),
    "frame differences": lambda frames: differences(frames).sum(0),
    "frame differences in 4 segments": lambda frames: np.stack(
        [part.sum(0) for part in np.array_split(differences(frames), SEGMENTS)]
    ),
}


def in_row_space(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features in the space that the training videos span: the same classifier.

    A penalty on the squared weights never gives a weight outside of that space, and there are far
    fewer videos than pixels.
    """
    mean, std = train.mean(0), train.std(0).mean() + 1e-8
    train, test = (train - mean) / std, (test - mean) / std
    _, _, basis = np.linalg.svd(train, full_matrices=False)
    scale = np.sqrt(train.shape[1])
    return train @ basis.T / scale, test @ basis.T / scale


def people(data: Path, samples: list[Sample]) -> list[str]:
    """The person in each video by the column `subject`; without it every video is its own."""
    with (data / "videos.csv").open(newline="", encoding="utf-8") as file:
        rows = {str(data / row["path"]): row.get("subject") for row in csv.DictReader(file)}
    return [rows.get(str(s.video.path)) or str(s.video.path) for s in samples]


def probe(data: Path, side: int = SIDE) -> Iterator[dict]:
    folder = read_folder(data)
    videos = {split: folder.splits[split] for split in ("train", "test")}
    frames = {split: [grey_frames(s, side) for s in videos[split]] for split in videos}
    labels = {split: np.array([s.label for s in videos[split]]) for split in videos}
    groups = people(data, videos["train"])
    folds = GroupKFold(min(4, len(set(groups))))
    for name, describe in PROBES.items():
        train, test = in_row_space(
            *(np.stack([describe(f).ravel() for f in frames[split]]) for split in videos)
        )
        search = GridSearchCV(
            LogisticRegression(max_iter=2000),
            {"C": [c * train.shape[1] for c in PENALTIES]},
            cv=folds,
        )
        search.fit(train, labels["train"], groups=groups)
        right = search.predict(test) == labels["test"]
        drawn = bootstrap({"top1": lambda n, r=right: float(n @ r / n.sum())}, len(right))
        yield {
            "probe": name,
            "top1": float(right.mean()),
            "interval": interval(drawn["top1"]),
            "trained": len(train),
            "tested": len(right),
            "classes": len(folder.labels),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description="Linear probes of a labelled set of videos.")
    parser.add_argument("data", type=Path, help="a folder with a videos.csv")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each probe")
    options = parser.parse_args()
    for row in probe(options.data):
        low, high = (100 * limit for limit in row["interval"])
        print(
            json.dumps(row)
            if options.json
            else f"{row['probe']:32} {100 * row['top1']:5.1f} % ({low:.1f} to {high:.1f})",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
