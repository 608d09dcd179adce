"""Figure 4 from real runs: both curves, of one label per video and of several."""

import csv
import json
import math

import pytest
from conftest import moving_bar
from videos import write_video

from nonlocalnet.cli.main import main
from nonlocalnet.recipes.curves import run_curve

SETTINGS = ["--model=c2d_tiny", "--width=4", "--frames=2", "--crop=32", "--epochs=4", "--batch=4"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders by the kind of their labels."""
    root = tmp_path_factory.mktemp("curves")
    for number in range(12):
        write_video(root / "videos" / f"{number}.mp4", moving_bar("up", number, frames=8))
    lists = {
        "one": ("label", ["up", "down"]),
        "several": ("labels", ["up", "", "up;down", "down"]),
    }
    found = {}
    for kind, (column, labels) in lists.items():
        rows = [
            f"{n}.mp4,{labels[n % len(labels)]},{'test' if n >= 8 else 'train'}" for n in range(12)
        ]
        file = root / f"{kind}.csv"
        file.write_text(f"path,{column},split\n" + "\n".join(rows) + "\n")
        found[kind] = root / kind
        command = ["train", str(file), f"--videos={root / 'videos'}", f"--out={found[kind]}"]
        assert main([*command, *SETTINGS, "--workers=0", "--json"]) == 0
    return found


@pytest.mark.parametrize(("kind", "measure"), [("one", "top-1 error"), ("several", "1 - mAP")])
def test_a_run_has_both_curves_and_says_what_they_are(runs, kind, measure):
    curve = run_curve(runs[kind])
    assert curve.measure == measure
    assert len(curve.train_error) >= 2
    assert len(curve.val_error) >= 1
    assert all(0 <= error <= 1 for error in (*curve.train_error, *curve.val_error))
    with (runs[kind] / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["train_loss"]]
    assert all(row["train_error"] for row in rows)
    known = [row for row in rows if math.isfinite(float(row["train_error"]))]
    assert curve.train_steps == [int(row["step"]) for row in known]


def test_plot_draws_one_or_more_runs(runs, tmp_path, capsys):
    out = tmp_path / "figure4.png"
    assert main(["plot", *map(str, runs.values()), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {name: curve["measure"] for name, curve in said.items()} == {
        "one": "top-1 error",
        "several": "1 - mAP",
    }
    assert out.read_bytes().startswith(b"\x89PNG")
