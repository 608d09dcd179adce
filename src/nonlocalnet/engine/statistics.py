"""How sure the figures of a test are: intervals, and bounds where videos are missing.

Everything here is a function of the content of results.json, so it works on any such file. A
figure is a function of how often each video counts: once each gives the figure itself, and counts
drawn with replacement give its bootstrap distribution. Videos are drawn, not clips: the clips of
one video are no independent evidence.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nonlocalnet.engine.metrics import mean_average_precision

Figure = Callable[[np.ndarray], float]
"""From how often each video counts (videos,) to a share of 1."""
RESAMPLES = 2000
SEED = 0  # of the intervals in results.json
LEVEL = 0.95
TOP = (1, 5)


def read_results(path: str | Path) -> dict[str, Any]:
    """The content of a results.json.

    Raises:
        ValueError: No such file, or not one of `nonlocalnet test`.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; nonlocalnet test writes RUN/results.json")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); give a file of nonlocalnet test") from None
    lacks = {"metrics", "protocol", "labels", "videos"} - set(
        results if isinstance(results, dict) else ()
    )
    if lacks or not results["videos"]:
        what = ", ".join(sorted(lacks)) or "a video"
        raise ValueError(f"{path}: lacks {what}; give a results.json of nonlocalnet test")
    return results


def is_multi_label(results: Mapping[str, Any]) -> bool:
    """Whether its videos may have several labels each."""
    return "labels" in results["videos"][0]


def figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Every figure of a results.json by its name without the stamp.

    top1 and top5 are of whole videos. clip_top1 and clip_top5 judge each view by itself, where the
    rows have `clips` (the rank of the true label in each view). mAP_labelled leaves out the videos
    without a label, where there are some.

    Example:
        >>> rows = [{"rank": 0, "clips": [0, 1]}, {"rank": 2, "clips": [0, 2]}]
        >>> found = figures({"labels": ["a", "b", "c"], "videos": rows})
        >>> {name: figure(np.ones(2)) for name, figure in found.items()}
        {'top1': 0.5, 'clip_top1': 0.5}
        >>> found["top1"](np.array([3, 1]))
        0.75
    """
    if is_multi_label(results):
        scores, targets = score_table(results), target_table(results, results["videos"])
        labelled = targets.any(1)
        found: dict[str, Figure] = {}
        if labelled.any():
            found["mAP"] = _weighted_map(scores, targets)
            if not labelled.all():
                some = _weighted_map(scores[labelled], targets[labelled])
                found["mAP_labelled"] = lambda weights: some(weights[labelled])
        return found
    rows = results["videos"]
    tops = [k for k in TOP if k < len(results["labels"])]
    found = {f"top{k}": _mean(np.array([row["rank"] < k for row in rows])) for k in tops}
    if all(row.get("clips") for row in rows):
        for k in tops:
            shares = [np.mean(np.array(row["clips"]) < k) for row in rows]
            found[f"clip_top{k}"] = _mean(np.array(shares))
    return found


def score_table(results: Mapping[str, Any]) -> np.ndarray:  # (videos, classes)
    """The scores of all rows."""
    return np.array([row["scores"] for row in results["videos"]], dtype=np.float64)


def target_table(results: Mapping[str, Any], rows: Any) -> np.ndarray:  # (rows, classes) bool
    """Which labels the rows have, by a `label` or several `labels` each."""
    numbers = {label: number for number, label in enumerate(results["labels"])}
    table = np.zeros((len(rows), len(numbers)), dtype=bool)
    for line, row in zip(table, rows, strict=True):
        line[[numbers[name] for name in row.get("labels", [row.get("label")])]] = True
    return table


def bootstrap(
    found: Mapping[str, Figure], videos: int, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, np.ndarray]:  # (resamples,) each
    """Figures of resampled sets: as many videos, drawn with replacement.

    All figures are of the same draws, so differences of paired figures are paired as well.

    Args:
        found: From `figures`.
        videos: How many there are.
        seed: Of the draws.
        resamples: How many sets are drawn.
    """
    rng = np.random.default_rng(seed)
    drawn = {name: np.empty(resamples) for name in found}
    for i in range(resamples):
        weights = np.bincount(rng.integers(videos, size=videos), minlength=videos)
        for name, figure in found.items():
            drawn[name][i] = figure(weights)
    return drawn


def interval(drawn: np.ndarray) -> list[float]:
    """[low, high] that holds 95 % and leaves out the same share at both ends (percentiles).

    Sets in which the figure does not exist (no positive of any class) are left out.

    Example:
        >>> [round(limit) for limit in interval(np.arange(201))]
        [5, 195]
    """
    outside = (1 - LEVEL) / 2
    return [float(v) for v in np.nanquantile(drawn, (outside, 1 - outside))]


def bounds(results: Mapping[str, Any]) -> dict[str, list[float]]:
    """[worst, best] that each figure can be on the whole list, whatever the missing videos show.

    Worst: each is named wrong, or ranked so that its labels come last and the others first. Best:
    the opposite. For mAP the labels of the missing videos must be known (`missing` in the file);
    where they are not, it has no bounds. A class whose only positives are missing counts here, so
    the bounds of mAP are the mean over more classes than mAP itself.

    Example:
        >>> rows = [{"rank": 0}, {"rank": 0}, {"rank": 1}]
        >>> bounds({"labels": ["a", "b"], "videos": rows, "protocol": {"missing": 1}})
        {'top1': [0.5, 0.75]}
    """
    rows, missing = results["videos"], results["protocol"]["missing"]
    if not missing:
        return {}
    if not is_multi_label(results):
        found = {}
        for name, figure in figures(results).items():
            hits = figure(np.ones(len(rows))) * len(rows)
            found[name] = [(hits + more) / (len(rows) + missing) for more in (0, missing)]
        return found
    absent = missing_rows(results)
    if absent is None:
        return {}
    scores, targets = score_table(results), target_table(results, rows)
    unseen = target_table(results, absent)
    found = {}
    for name in figures(results):
        if name == "mAP_labelled":
            scores, targets, unseen = (
                scores[targets.any(1)],
                targets[targets.any(1)],
                unseen[unseen.any(1)],
            )
        found[name] = [
            mean_average_precision(*filled_in(scores, targets, unseen, best))[0]
            for best in (False, True)
        ]
    return found


def missing_rows(results: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Videos of the list that are not there or cannot be read; None where a file does not tell.

    Files of older versions, and those of `run_test` alone, only say how many there are.
    """
    rows = results.get("missing", [])
    return rows if len(rows) == results["protocol"]["missing"] else None


def filled_in(
    scores: np.ndarray,  # (videos, classes)
    targets: np.ndarray,  # (videos, classes) bool
    unseen: np.ndarray,  # (missing, classes) bool
    best: bool,
) -> tuple[np.ndarray, np.ndarray]:  # (videos + missing, classes) twice
    """Scores and targets with the missing videos where they do most good, or most harm."""
    # Each at a place of its own: of positives that come last, equal scores would be less harm.
    last = scores.min(initial=0) - 1 - np.arange(len(unseen))[:, None]
    extreme = np.where(unseen == best, np.inf, last)
    return np.concatenate([scores, extreme]), np.concatenate([targets, unseen])


def _mean(values: np.ndarray) -> Figure:
    return lambda weights: float(weights @ values / weights.sum())


def _weighted_map(scores: np.ndarray, targets: np.ndarray) -> Figure:
    """MAP as `mean_average_precision` has it, of videos that count any number of times."""
    order = np.argsort(-scores, axis=0, kind="stable")  # (N, C) videos, best first
    ranked = np.take_along_axis(scores, order, 0)
    ends = np.concatenate([ranked[1:] < ranked[:-1], np.ones((1, scores.shape[1]), bool)])
    places = np.where(ends, np.arange(len(scores))[:, None], len(scores))
    last = np.minimum.accumulate(places[::-1], 0)[::-1]  # (N, C) of equal scores the last place
    positive = np.take_along_axis(targets, order, 0)
    rows, columns = positive.nonzero()

    def figure(weights: np.ndarray) -> float:
        counted = weights[order]
        seen = counted.cumsum(0)
        hits = (counted * positive).cumsum(0)
        at = last[rows, columns], columns
        precision = hits[at] / np.maximum(seen[at], 1)
        sums = np.bincount(columns, precision * counted[rows, columns], scores.shape[1])
        known = hits[-1] > 0
        return float((sums[known] / hits[-1][known]).mean()) if known.any() else float("nan")

    return figure


def add_statistics(results: dict[str, Any]) -> None:
    """Adds the clips' figures, `intervals` (95 %) and, with missing videos, `bounds`, stamped.

    Args:
        results: Of `run_test`, with all its missing videos; changed in place.
    """
    if not results["metrics"]:
        return
    stamp = next(iter(results["metrics"])).partition("@")[2]
    found = figures(results)
    once = np.ones(len(results["videos"]))
    drawn = bootstrap(found, len(once), seed=SEED)
    for name, figure in found.items():
        results["metrics"].setdefault(f"{name}@{stamp}", figure(once))
    results["intervals"] = {f"{name}@{stamp}": interval(draws) for name, draws in drawn.items()}
    results["interval_method"] = (
        f"{100 * LEVEL:g} %, percentiles of {RESAMPLES} bootstrap sets of videos, seed {SEED}"
    )
    if limits := bounds(results):
        results["bounds"] = {f"{name}@{stamp}": limit for name, limit in limits.items()}
