"""The official Kinetics CSV: label, youtube_id, time_start, time_end, split.

Files on disk are named ID_SSSSSS_EEEEEE.mp4 (start and end in whole seconds) or ID.mp4, in class
folders or flat, anywhere under one folder; copies of the set lack many of them.
"""

from collections.abc import Iterable
from pathlib import Path

from nonlocalnet.data.listed import Listed, find_stems, same_name, split_named

COLUMNS = frozenset({"youtube_id", "time_start", "time_end"})


def kinetics_rows(rows: Iterable[tuple[str, dict[str, str]]], root: Path) -> list[Listed]:
    """The videos of a Kinetics CSV, found under `root` or with the path they should have.

    Args:
        rows: (FILE:LINE, cells by column) with the columns above and `label`.
        root: Where to look.

    Raises:
        ValueError: An empty cell, a time that is no number, an unknown split.
    """
    named: list[tuple[str, str, str, str | None]] = []  # where, label, id, split
    timed: list[str] = []
    for where, row in rows:
        label, name = row["label"], row["youtube_id"]
        if not label or not name:
            raise ValueError(
                f"{where}: label {label!r} and youtube_id {name!r} must both be given; "
                "fill in the row or delete it"
            )
        split = split_named(row.get("split", ""))
        if row.get("split") and split is None:
            raise ValueError(
                f"{where}: split {row['split']!r} is none of train, validate and test; correct it"
            )
        named.append((where, label, name, split))
        timed.append(f"{name}_{_seconds(where, row, 0):06d}_{_seconds(where, row, 1):06d}")
    files = find_stems(root, {*timed, *(name for _, _, name, _ in named)})
    return [
        Listed(
            path=_choose(files.get(stem) or files.get(name) or [], label, split)
            or root / label / f"{stem}.mp4",
            label=label,
            split=split,
            where=where,
        )
        for (where, label, name, split), stem in zip(named, timed, strict=True)
    ]


def _seconds(where: str, row: dict[str, str], end: int) -> int:
    column = ("time_start", "time_end")[end]
    try:
        value = float(row[column])
    except ValueError:
        value = -1.0
    if value < 0:
        raise ValueError(
            f"{where}: {column} {row[column]!r} is not a number of seconds; "
            "correct it (the official lists have whole seconds such as 59)"
        )
    return int(value)


def _choose(paths: list[Path], label: str, split: str | None) -> Path | None:
    """Of files of one name: that in the folder of the class, then that of the split."""

    def fits(path: Path) -> tuple[bool, bool]:
        folders = path.parts[:-1]
        in_class = same_name(folders[-1]) == same_name(label)
        return in_class, split is not None and split in map(split_named, folders)

    return max(paths, key=fits, default=None)
