"""What makes the figures of a set misleading: leakage, tiny classes, imbalance."""

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from nonlocalnet.data.listed import SPLITS, Listed

FEW = 5
"""A class with fewer training videos is hardly learnt, and its score is chance."""
IMBALANCE = 10
"""Above this ratio of the largest to the smallest class a network prefers the large ones."""


def audit(rows: Sequence[Listed], labels: Sequence[str]) -> list[str]:
    """Sentences about what is wrong with a set as a whole; none if nothing is.

    Args:
        rows: Readable videos, each with a split; those with a label of `labels` are counted.
        labels: The class names.
    """
    return [*_leaks(rows), *_counts(rows, labels)] if rows else []


def _leaks(rows: Sequence[Listed]) -> list[str]:
    """Same content in two splits. Contents are compared among files of one size only."""
    twins: dict[tuple[str, str], list[tuple[Path, Path]]] = defaultdict(list)
    for same in _same_content(rows):
        first = {row.split: row.path for row in reversed(same)}
        for a, b in itertools.combinations([s for s in SPLITS if s in first], 2):
            twins[a, b] += [(row.path, first[a]) for row in same if row.split == b]
    return [
        f"{len(pairs)} of the {b} videos {'has' if len(pairs) == 1 else 'have'} the same content "
        f"as {a} videos, first: {pairs[0][0]} is {pairs[0][1]}; remove them from one side, or "
        "the scores flatter"
        for (a, b), pairs in twins.items()
    ]


def _same_content(rows: Sequence[Listed]) -> list[list[Listed]]:
    """Groups of rows of one content that lie in more than one split."""
    groups = [list(rows)]
    # Cheapest first: most videos differ in size, nearly all others in a few bytes of their middle.
    for key in (_size, _middle, _digest):
        split: list[list[Listed]] = []
        for group in groups:
            parts: dict[object, list[Listed]] = defaultdict(list)
            for row in group:
                parts[key(row.path)].append(row)
            split += [part for part in parts.values() if len({row.split for row in part}) > 1]
        groups = split
    return groups


def _size(path: Path) -> int | Path:
    return path.stat().st_size if path.is_file() else path  # a folder of frames: by its name


def _middle(path: Path) -> bytes | Path:
    if path.is_dir():
        return path
    with path.open("rb") as file:
        file.seek(path.stat().st_size // 2)
        return file.read(4096)


def _digest(path: Path) -> str | Path:
    if path.is_dir():
        return path
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _counts(rows: Sequence[Listed], labels: Sequence[str]) -> list[str]:
    """Counts the training videos, or all where none is for training."""
    training = [row for row in rows if row.split == "train"] or list(rows)
    if any(row.actions is not None for row in training):
        names = [labels[k] for row in training for k in {a.label for a in row.actions or ()}]
    else:
        names = [row.label for row in training]
    counts = Counter(dict.fromkeys(labels, 0))
    counts.update(names)
    most, fewest = max(labels, key=counts.__getitem__), min(labels, key=counts.__getitem__)
    few = sum(count < FEW for count in counts.values())
    kind = "training videos" if training[0].split == "train" else "videos"
    sentences = []
    if few:
        sentences.append(
            f"{few} of {len(labels)} classes {'has' if few == 1 else 'have'} fewer than {FEW} "
            f"{kind}, fewest: {fewest!r} with {counts[fewest]}; add clips or merge classes"
        )
    if counts[most] > IMBALANCE * counts[fewest]:
        sentences.append(
            f"class {most!r} has {counts[most]} {kind} and {fewest!r} has {counts[fewest]}, more "
            f"than {IMBALANCE} to 1; compare classes by their own scores, or add to the small ones"
        )
    return sentences
