"""The curves of Figure 4 from a run folder."""

from pathlib import Path

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
    train = [(int(r["step"]), float(r["train_error"])) for r in metrics if r["train_error"]]
    val = [(int(r["step"]), float(r["val_error"])) for r in metrics if r["val_error"]]
    return Curve(
        train_steps=[step for step, _ in train],
        train_error=[error for _, error in train],
        val_steps=[step for step, _ in val],
        val_error=[error for _, error in val],
    )
