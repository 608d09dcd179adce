"""Which side of the split a video is on, where nobody has said: sources are not torn apart.

A source is what several clips were cut from: their names differ in a last number only, so
run_01.mp4 and run_02.mp4 stay on one side (unless the whole class is one such series). Where all
files of a class have one name, their folders are the sources.
"""

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nonlocalnet.data.listed import Listed

TEST_SHARE = 0.25


def split_by_source(rows: Sequence[Listed], seed: int) -> list[Listed]:
    """A quarter of each class's sources for testing, at least one, drawn by a hash of the name.

    Videos of several labels are drawn as if they were of one class.

    Raises:
        ValueError: A class with a single video.
    """
    by_class: dict[str, list[Path]] = defaultdict(list)
    for row in rows:
        by_class[row.label].append(row.path)
    held_out: set[Path] = set()
    for label, paths in by_class.items():
        of = {path: source_of(path) for path in paths}
        if len(set(of.values())) < 2:
            of = {path: path.stem for path in paths}
        if len(set(of.values())) < 2:
            of = {path: "/".join(path.parts[-2:]) for path in paths}
        if len(paths) < 2:
            raise ValueError(
                f"{f'class {label!r}' if label else 'the set'} has {len(paths)} video, needs at "
                "least 2 (one to train on, one to test on); add clips or name the split in "
                "videos.csv"
            )
        sizes = Counter(of.values())
        drawn = sorted(sizes, key=lambda s: hashlib.sha256(f"{seed}/{s}".encode()).digest())
        wanted = math.ceil(TEST_SHARE * len(paths))
        for source in drawn[:-1]:
            if wanted <= 0:
                break
            held_out.update(path for path in paths if of[path] == source)
            wanted -= sizes[source]
    return [replace(row, split="test" if row.path in held_out else "train") for row in rows]


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
