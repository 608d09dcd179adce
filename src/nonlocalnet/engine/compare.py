"""Two results files side by side: differences of their figures, with paired intervals.

Both tests saw the same videos, so their errors come in pairs: which videos are hard is the same for
both. Videos are drawn once for both files, and the interval is that of the difference; it is
narrower than the two intervals suggest wherever the networks agree on what is hard.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from nonlocalnet.engine.protocol import JITTER
from nonlocalnet.engine.statistics import (
    Figure,
    bootstrap,
    figures,
    interval,
    is_multi_label,
)

OF_NETWORK = {"mean", "std"}
OF_MACHINE = {"torch", "machine", "chunk", "optimized"}
OF_VIDEOS = {"evaluated", "missing", "videos_hash"}
OWN = frozenset(OF_NETWORK | OF_MACHINE | OF_VIDEOS | {"starts"})
"""Fields of the protocol in which comparable tests may differ: what belongs to the network, where
and how it ran (to rounding the same), which videos were there (only those that both tested are
compared), and what `clip_starts` says better."""
OF_TRAINING = frozenset({"short_side", "flip", "warp", "shade"})
"""Fields that no test but 1-clip-jitter makes use of."""


def compare(
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    *,
    allow: Collection[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Differences b - a on the videos that both tested.

    Args:
        a: Content of a results.json.
        b: The same of another test of the same set.
        allow: Fields of the protocol that may differ, because they are what is compared.
        seed: Of the bootstrap.

    Returns:
        `videos` (compared), `only_a` and `only_b` (left out, since the other file lacks them), and
        for each of `figures` a, b, difference and its 95 % interval.

    Raises:
        ValueError: The protocols differ in other fields, the classes, the kind or the labels of
            the videos differ, no video is in both, or none has a label.
    """
    unlike = unlike_fields(a["protocol"], b["protocol"])
    unknown = sorted(set(allow) - set(a["protocol"]) - set(b["protocol"]))
    if unknown:
        raise ValueError(
            f"no protocol has a field {unknown[0]!r}; it has {', '.join(a['protocol'])}"
        )
    if refused := [name for name in unlike if name not in allow]:
        seen = "; ".join(
            f"{name} ({_short(a['protocol'].get(name))} and {_short(b['protocol'].get(name))})"
            for name in refused
        )
        raise ValueError(
            f"the protocols differ in {seen}, so a difference of their figures would say nothing "
            f"about the networks; test both alike, or allow {','.join(refused)} if that is what "
            "you compare"
        )
    if a["labels"] != b["labels"] or is_multi_label(a) != is_multi_label(b):
        raise ValueError(
            f"the classes differ ({_classes(a)}; {_classes(b)}); compare tests of one data set"
        )
    pairs = paired(a["videos"], b["videos"])
    first, second = (
        {**results, "videos": [pair[side] for pair in pairs]} for side, results in enumerate((a, b))
    )
    of_a, of_b = figures(first), figures(second)
    names = [name for name in of_a if name in of_b]
    if not names:
        raise ValueError(
            f"none of the {len(pairs)} videos has a label, so neither test has a figure; compare "
            "tests of labelled videos"
        )
    once = np.ones(len(pairs))
    drawn = bootstrap(
        {name: _difference(of_a[name], of_b[name]) for name in names},
        len(pairs),
        seed=seed,
    )
    return {
        "videos": len(pairs),
        "only_a": len(a["videos"]) - len(pairs),
        "only_b": len(b["videos"]) - len(pairs),
        "allowed": [name for name in unlike if name in allow],
        "figures": {
            name: {
                "a": of_a[name](once),
                "b": of_b[name](once),
                "difference": of_b[name](once) - of_a[name](once),
                "interval": interval(drawn[name]),
            }
            for name in names
        },
    }


def unlike_fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Fields that differ between two protocols and make their figures incomparable.

    Example:
        >>> unlike_fields({"views": "10x1", "torch": "2.6"}, {"views": "10x3", "torch": "2.7"})
        ['views']
    """
    jitter = JITTER in (a.get("views"), b.get("views"))
    own = OWN if jitter else OWN | OF_TRAINING
    names = [name for name in {**a, **b} if name not in own]
    return [name for name in names if json.dumps(a.get(name)) != json.dumps(b.get(name))]


def paired(
    a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Rows of the same video, in the order of `a`.

    The data may lie elsewhere on another machine: a video is known by the end of its path, as many
    parts of it as tell all videos of either file apart.

    Raises:
        ValueError: No video is in both, or one has other labels there.

    Example:
        >>> paired([{"path": "/a/up/1.mp4", "label": "up"}], [{"path": "up/1.mp4", "label": "up"}])
        [({'path': '/a/up/1.mp4', 'label': 'up'}, {'path': 'up/1.mp4', 'label': 'up'})]
    """
    both = [[PurePath(row["path"]).parts for row in rows] for rows in (a, b)]
    length = 1
    while any(len({parts[-length:] for parts in paths}) < len(set(paths)) for paths in both):
        length += 1
    ours, theirs = (
        {parts[-length:]: row for parts, row in zip(paths, rows, strict=True)}
        for paths, rows in zip(both, (a, b), strict=True)
    )
    pairs = [(row, theirs[end]) for end, row in ours.items() if end in theirs]
    if not pairs:
        raise ValueError(
            f"no video is in both files, as {a[0]['path']} in one and {b[0]['path']} in the other; "
            "compare tests of one data set"
        )
    for mine, yours in pairs:
        if _labels(mine) != _labels(yours):
            raise ValueError(
                f"{mine['path']} shows {_labels(mine)} in one file and {_labels(yours)} in the "
                "other; compare tests of one data set"
            )
    return pairs


def _difference(of_a: Figure, of_b: Figure) -> Figure:
    return lambda weights: of_b(weights) - of_a(weights)


def _labels(row: Mapping[str, Any]) -> str:
    return ", ".join(row.get("labels", [row.get("label")])) or "nothing"


def _classes(results: Mapping[str, Any]) -> str:
    kind = "several labels" if is_multi_label(results) else "one label"
    return f"{len(results['labels'])}, first {results['labels'][0]}, {kind} per video"


def _short(value: Any) -> str:
    return "none" if value is None else str(value)
