"""What a test says class by class: confusion, precision, recall, F1, and what of it is missing.

Everything here is a function of the content of results.json. A video of several labels is said to
show a class where the score, a sigmoid, is 0.5 or more.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nonlocalnet.engine.metrics import mean_average_precision
from nonlocalnet.engine.statistics import (
    filled_in,
    is_multi_label,
    missing_rows,
    score_table,
    target_table,
)

THRESHOLD = 0.5


def confusion(results: Mapping[str, Any]) -> np.ndarray:  # (classes, classes) int
    """How many videos of each class (rows) were taken for each class (columns).

    Raises:
        ValueError: The videos have several labels each.

    Example:
        >>> rows = [{"label": "a", "predicted": "b"}, {"label": "b", "predicted": "b"}]
        >>> confusion({"labels": ["a", "b"], "videos": rows}).tolist()
        [[0, 1], [0, 1]]
    """
    if is_multi_label(results):
        raise ValueError("a confusion matrix is of one label per video; these have several each")
    truth, said = _truth_and_said(results)
    return truth.T.astype(np.int64) @ said


def per_class(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each class, to be a line of a table; None where there is nothing to tell.

    listed, evaluated    videos of the class on the list, and those that were tested
    said                 videos that were said to show it
    precision, recall, f1    of the tested videos; None is 0 of 0
    recall_worst, recall_best    on the whole list, if all its missing videos were wrong or right
    average_precision, and its _worst and _best    of several labels per video

    Example:
        >>> rows = [{"label": "a", "predicted": "b"}, {"label": "b", "predicted": "b"}]
        >>> lost = {"protocol": {"missing": 1}, "missing": [{"label": "a"}]}
        >>> a, b = per_class({"labels": ["a", "b"], "videos": rows, **lost})
        >>> a["listed"], a["evaluated"], a["recall"], a["recall_best"], a["precision"]
        (2, 1, 0.0, 0.5, None)
        >>> b["precision"], b["recall"], b["f1"]
        (0.5, 1.0, 0.6666666666666666)
    """
    truth, said = _truth_and_said(results)
    absent = missing_rows(results)
    unseen = None if absent is None else target_table(results, absent)
    hits, have, claimed = ((truth & said).sum(0), truth.sum(0), said.sum(0))
    lost = None if unseen is None else unseen.sum(0)
    columns: dict[str, Any] = {
        "listed": None if lost is None else have + lost,
        "evaluated": have,
        "said": claimed,
        "precision": _share(hits, claimed),
        "recall": _share(hits, have),
        "f1": _share(2 * hits, have + claimed),
        "recall_worst": None if lost is None else _share(hits, have + lost),
        "recall_best": None if lost is None else _share(hits + lost, have + lost),
    }
    if is_multi_label(results):
        scores = score_table(results)
        columns["average_precision"] = mean_average_precision(scores, truth)[1]
        for name, best in (("worst", False), ("best", True)):
            columns[f"average_precision_{name}"] = (
                None
                if unseen is None
                else mean_average_precision(*filled_in(scores, truth, unseen, best))[1]
            )
    return [
        {"label": label} | {name: _plain(values, number) for name, values in columns.items()}
        for number, label in enumerate(results["labels"])
    ]


def _truth_and_said(results: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(videos, classes) bool twice: what they show, and what they are said to show."""
    truth = target_table(results, results["videos"])
    if is_multi_label(results):
        return truth, score_table(results) >= THRESHOLD
    said = [{"label": row["predicted"]} for row in results["videos"]]
    return truth, target_table(results, said)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _plain(values: np.ndarray | None, number: int) -> int | float | None:
    value = None if values is None else values[number].item()
    return None if value is None or value != value else value
