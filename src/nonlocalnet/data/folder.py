"""A folder of clips as a labelled set: who is in it, and which side of the split.

Three layouts, the first that fits:
1. `videos.csv` with columns path, label and perhaps split (train, val, test);
2. folders train/ and test/ (or val/), each with one folder per class;
3. one folder per class: a quarter of the sources of each class is set aside for testing.
A source is what several clips were cut from: their names differ in a last number only, so
run_01.mp4 and run_02.mp4 stay on one side (unless the whole class is one such series).
"""

import csv
import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nonlocalnet.data.video import BadVideo, Video, open_video

SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts"}
    | {".webm", ".wmv"}
)
SPLITS = ("train", "val", "test")
TEST_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One labelled video."""

    video: Video
    label: int


@dataclass(kw_only=True)
class VideoFolder:
    """What `read_folder` found."""

    labels: list[str]
    splits: dict[str, list[Sample]]  # train, val and test; val may be empty
    split_by: str
    """Who drew the line between training and testing, in words."""
    bad: list[str] = field(default_factory=list)
    """One sentence for each file that was left out."""


def read_folder(
    root: str | Path, seed: int = 0, progress: Callable[[int, int], None] = lambda done, of: None
) -> VideoFolder:
    """Lists and opens (without decoding) every video of a folder.

    Args:
        root: The folder; its layout is one of those at the head of this file.
        seed: Draws the test sources where the folder names no split.
        progress: Called with (files done, files in all).

    Raises:
        ValueError: No such folder, no videos in it, a faulty videos.csv, fewer than two classes,
            or a split without training videos.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(
            f"{root}: no such folder; give a folder with one folder of clips per class"
        )
    if (root / "videos.csv").exists():
        listed, split_by = _from_csv(root / "videos.csv"), "the split column of videos.csv"
        if any(split is None for _, _, split in listed):
            listed, split_by = _split_by_source(listed, seed), "sources of videos.csv"
    elif (root / "train").is_dir():
        listed = [
            (path, label, split)
            for split in SPLITS
            if (root / split).is_dir()
            for path, label, _ in _from_class_folders(root / split)
        ]
        split_by = "the folders train, val and test"
    else:
        listed, split_by = _split_by_source(_from_class_folders(root), seed), "source"
    labels = sorted({label for _, label, _ in listed})
    if len(labels) < 2:
        raise ValueError(
            f"{root}: found {len(listed)} videos of {len(labels)} classes, needs at least 2 "
            "classes; make one folder per class with its clips inside"
        )
    folder = VideoFolder(labels=labels, splits={s: [] for s in SPLITS}, split_by=split_by)
    for done, (path, label, split) in enumerate(listed):
        try:
            sample = Sample(video=open_video(path), label=labels.index(label))
            folder.splits[split or "train"].append(sample)
        except BadVideo as error:
            folder.bad.append(str(error))
        progress(done + 1, len(listed))
    if not folder.splits["test"]:
        folder.splits["test"] = folder.splits["val"]
    for split in ("train", "test"):
        if not folder.splits[split]:
            why = (
                f"; {len(folder.bad)} were unreadable, first: {folder.bad[0]}" if folder.bad else ""
            )
            raise ValueError(
                f"{root}: no readable video in the {split} split{why}; check the folder"
            )
    return folder


Listed = list[tuple[Path, str, str | None]]  # path, label, split


def _from_csv(file: Path) -> Listed:
    listed: Listed = []
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.DictReader(lines)
        if not {"path", "label"} <= set(rows.fieldnames or ()):
            raise ValueError(
                f"{file}:1: the header must name the columns path and label (and perhaps split), "
                f"got {', '.join(rows.fieldnames or ()) or 'an empty file'}; add them"
            )
        for row in rows:
            where = f"{file}:{rows.line_num}"
            path, label, split = row["path"], row["label"], row.get("split") or None
            if not path or not label:
                raise ValueError(f"{where}: path {path!r} and label {label!r} must both be given")
            if split is not None and split not in SPLITS:
                raise ValueError(f"{where}: split must be train, val or test, got {split!r}")
            listed.append((file.parent / path, label, split))
    splits = {split for *_, split in listed}
    if None in splits and len(splits) > 1:
        raise ValueError(
            f"{file}: the split is given for some rows only; fill it in for all or none"
        )
    return listed


def _from_class_folders(root: Path) -> Listed:
    return [
        (path, folder.name, None)
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]


def _split_by_source(listed: Listed, seed: int) -> Listed:
    """A quarter of each class's sources for testing, at least one, drawn by a hash of the name."""
    by_class: dict[str, list[Path]] = defaultdict(list)
    for path, label, _ in listed:
        by_class[label].append(path)
    held_out: set[Path] = set()
    for label, paths in by_class.items():
        of = {path: source_of(path) for path in paths}
        if len(set(of.values())) < 2:
            of = {path: path.stem for path in paths}
        if len(paths) < 2:
            raise ValueError(
                f"class {label!r} has {len(paths)} video, needs at least 2 (one to train on, one "
                "to test on); add clips or name the split in videos.csv"
            )
        sizes = Counter(of.values())
        drawn = sorted(sizes, key=lambda s: hashlib.sha256(f"{seed}/{s}".encode()).digest())
        wanted = math.ceil(TEST_SHARE * len(paths))
        for source in drawn[:-1]:
            if wanted <= 0:
                break
            held_out.update(path for path in paths if of[path] == source)
            wanted -= sizes[source]
    return [(path, label, "test" if path in held_out else "train") for path, label, _ in listed]


def source_of(path: Path) -> str:
    """The file's name without its last number: the recording it was cut from.

    Example:
        >>> source_of(Path("v_SoccerJuggling_g23_c01.avi")), source_of(Path("match (2).mp4"))
        ('v_SoccerJuggling_g23', 'match')
    """
    return (
        re.sub(r"[\s_.\-]*(?:\(\d+\)|[a-z]{0,4}\d+)$", "", path.stem, flags=re.IGNORECASE)
        or path.stem
    )
