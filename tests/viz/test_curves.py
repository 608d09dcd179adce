"""Error curves: dashed for training, solid for validation, in percent."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes

from nonlocalnet.viz.curves import Curve, draw_curves, running_mean

RUN = Curve(
    train_steps=[10, 20, 30, 40],
    train_error=[0.8, 0.6, 0.6, 0.2],
    val_steps=[20, 40],
    val_error=[0.7, 0.3],
)


def test_each_run_has_a_dashed_and_a_solid_line_in_percent(tmp_path, monkeypatch):
    drawn = []
    plot = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda self, *a, **k: drawn.append((a, k)) or plot(self, *a, **k)
    )
    draw_curves({"C2D": RUN, "NL C2D": RUN}, tmp_path / "c.png", chance=0.75, smooth=2)
    assert [a[2] for a, _ in drawn] == ["--", "-", "--", "-"]
    assert [k["label"] for _, k in drawn][:2] == ["C2D, training", "C2D, validation"]
    assert drawn[0][1]["color"] == drawn[1][1]["color"] != drawn[2][1]["color"]
    np.testing.assert_allclose(drawn[0][0][1], [70, 60, 40])
    np.testing.assert_allclose(drawn[1][0][1], [70, 30])
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "runs", [{}, {"short": Curve(train_steps=[], train_error=[], val_steps=[], val_error=[])}]
)
def test_a_run_without_points_is_no_fault(tmp_path, runs):
    draw_curves(runs, tmp_path / "c.png", smooth=5)
    assert (tmp_path / "c.png").exists()


def test_a_name_is_no_formula(tmp_path):
    draw_curves({"cost $^$": RUN}, tmp_path / "c.svg")
    assert "cost $^$, training" in (tmp_path / "c.svg").read_text()


def test_running_mean_keeps_the_mean_of_a_line():
    assert running_mean(list(range(10)), 4).tolist() == [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]


@pytest.mark.parametrize(
    ("measures", "axis"),
    [
        (["top-1 error"], "top-1 error (%)"),
        (["1 - mAP", "1 - mAP"], "1 - mAP (%)"),
        (["top-1 error", "1 - mAP"], "1 - mAP or top-1 error (%)"),
    ],
)
def test_the_axis_says_which_error(tmp_path, monkeypatch, measures, axis):
    said = []
    label = Axes.set_ylabel
    monkeypatch.setattr(
        Axes, "set_ylabel", lambda self, text, **k: said.append(text) or label(self, text, **k)
    )
    runs = {f"run {k}": replace(RUN, measure=m) for k, m in enumerate(measures)}
    draw_curves(runs, tmp_path / "c.png")
    assert said == [axis]
