"""Training's validation, `test`, `predict` and the Python API give a video the same scores."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import nonlocalnet as nln
from nonlocalnet.cli.main import main
from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.sets import TestVideos, TrainClips
from nonlocalnet.engine.logs import read_metrics
from nonlocalnet.engine.loop import Loop
from nonlocalnet.engine.protocol import Protocol
from nonlocalnet.engine.schedule import cosine
from nonlocalnet.engine.training import train

REAL = Path(__file__).parents[3] / "shared" / "data" / "utd-mhad-depth"
CLIP = ClipConfig(frames=4, stride=2, crop=32, short_side=(32, 40), test_short_side=40)


def trained(source, run, clip, protocol, **options):
    """Trains a few steps; returns the scores of each video at the last validation."""
    folder = read_folder(source, **options)
    torch.manual_seed(0)
    model = nln.build("nl1_i3d_tiny", len(folder.labels), width=4)
    for name, parameter in model.named_parameters():
        if name.endswith(("bn3.weight", "norm.weight")):  # zero at the start
            torch.nn.init.constant_(parameter, 0.5)
    logits = []

    def look(module, inputs, output):
        if not module.training:
            logits.append(output.detach().clone())

    model.register_forward_hook(look)
    train(
        model,
        TrainClips(folder.splits["train"], clip, 3),
        TestVideos(folder.splits["test"], clip, protocol.views, protocol.seed),
        run,
        Loop(
            steps=4,
            batch=4,
            lr=0.02,
            schedule=partial(cosine, steps=4, warmup=1),
            validate_every=4,
            checkpoint_every=4,
            workers=0,
            seed=3,
            progress=False,
        ),
        labels=folder.labels,
        choose_best=False,
    )
    views, videos = protocol.clips * protocol.crops, len(folder.splits["test"])
    logits = torch.cat([output for output in logits if output.ndim == 5])[: views * videos]
    scores = logits.softmax(1).mean((2, 3, 4)).unflatten(0, (videos, views)).mean(1)
    return scores, torch.tensor([sample.label for sample in folder.splits["test"]])


def results_of(run, *options):
    """The content of results.json."""
    assert main(["test", str(run), *options, "--workers", "0"]) == 0
    return json.loads((run / "results.json").read_text())


@pytest.mark.parametrize("views", ["2x1", "2x3", "1-clip-jitter"])
def test_testing_repeats_the_validation_of_training_exactly(bars, tmp_path, capsys, views):
    """Scores bit for bit; error and loss to the last digit that metrics.csv has."""
    protocol = Protocol.parse(views, seed=5)
    scores, labels = trained(bars, tmp_path, CLIP, protocol)
    results = results_of(tmp_path, "--data", str(bars), "--views", views, "--seed", "5")
    assert len(set(scores[:, 0].tolist())) == len(results["videos"]) == 6
    assert torch.equal(torch.tensor([row["scores"] for row in results["videos"]]), scores)
    (row,) = [row for row in read_metrics(tmp_path / "metrics.csv") if row["val_error"]]
    (top1,) = (v for name, v in results["metrics"].items() if name.startswith("top1@"))
    assert row["val_error"] == f"{1 - top1:.6g}"
    assert row["val_loss"] == f"{F.nll_loss(scores.log(), labels):.6g}"


@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs the real clips of {REAL}")
def test_four_paths_give_fifty_real_clips_the_same_bits(tmp_path, capsys):
    rows = (REAL / "videos.csv").read_text().splitlines()
    split = rows[0].split(",").index("split")
    by_split = {
        name: [row for row in rows[1:] if row.split(",")[split] == name]
        for name in ("train", "test")
    }
    chosen = [*by_split["train"][::4], *by_split["test"][::6][:50]]
    (tmp_path / "videos.csv").write_text("\n".join([rows[0], *chosen]) + "\n")
    run, clip = tmp_path / "run", replace(CLIP, frames=8, stride=4)
    source = tmp_path / "videos.csv"
    scores, _ = trained(source, run, clip, Protocol.parse("3x1"), videos=REAL)
    data = ["--data", str(source), "--videos", str(REAL), "--views", "3x1"]
    results = results_of(run, *data)
    assert len(results["videos"]) == len(scores) == 50
    classifier = nln.load(run)
    classes = [str(len(results["labels"]))]
    for row, validated in zip(results["videos"], scores, strict=True):
        assert torch.equal(torch.tensor(row["scores"]), validated)
        assert torch.equal(classifier.predict(row["path"], "3x1").scores, validated)
        capsys.readouterr()
        arguments = ["predict", row["path"], "--model", str(run), "--views", "3x1", "--json"]
        assert main([*arguments, "--top", *classes]) == 0
        (shown,) = json.loads(capsys.readouterr().out)
        said = {entry["label"]: entry["score"] for entry in shown["top"]}
        assert torch.equal(torch.tensor([said[name] for name in results["labels"]]), validated)
