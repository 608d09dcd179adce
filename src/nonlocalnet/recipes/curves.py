"""The curves of Figure 4 from a run folder."""

import math
from pathlib import Path

import yaml

from nonlocalnet.engine.logs import read_metrics
from nonlocalnet.viz.curves import Curve


def run_curve(run: Path) -> Curve:
    """Errors of training and validation by step.

    Raises:
        ValueError: The folder has no metrics.csv with a row in it.
    """
    metrics = read_metrics(run / "metrics.csv")
    if not metrics:
        raise ValueError(
            f"{run}: no metrics.csv with figures in it; give the folder of a run that has begun"
        )
    train, val = (_points(metrics, name) for name in ("train_error", "val_error"))
    config = run / "config.yaml"
    settings = yaml.safe_load(config.read_text(encoding="utf-8")) if config.exists() else {}
    return Curve(
        train_steps=[step for step, _ in train],
        train_error=[error for _, error in train],
        val_steps=[step for step, _ in val],
        val_error=[error for _, error in val],
        measure="1 - mAP" if settings.get("multi_label") else "top-1 error",
    )


def _points(metrics: list[dict[str, str]], name: str) -> list[tuple[int, float]]:
    """Steps and values of a column; a batch without one label has no mAP (nan)."""
    points = [(int(row["step"]), float(row[name])) for row in metrics if row[name]]
    return [point for point in points if math.isfinite(point[1])]
