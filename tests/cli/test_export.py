"""The faster ways to an answer say the same: --optimize, export and the other runtime."""

import json
from dataclasses import asdict

import pytest
import torch
from torch import nn

import nonlocalnet as nln
from nonlocalnet.cli.main import main
from nonlocalnet.data.clips import ClipConfig


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model file whose scores are far from even."""
    torch.manual_seed(0)
    network = nln.build("nl1_i3d_tiny", 2).eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm3d):
            part.weight.data.fill_(0.5)
    network.fc.weight.data.normal_(0, 1)
    clip = asdict(ClipConfig(frames=4, crop=32, short_side=(32, 40), test_short_side=32))
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    nln.save(network, path, labels=["down", "up"], clip=clip)
    return path


def scores(capsys, bars, model, *options):
    file = str(bars / "up" / "0.mp4")
    assert main(["predict", file, "--model", str(model), "--json", "--views", "2x3", *options]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    return {entry["label"]: entry["score"] for entry in row["top"]}


def test_every_way_gives_the_same_scores(model, bars, tmp_path, capsys):
    exported = tmp_path / "m.onnx"
    assert main(["export", str(model), "--onnx", str(exported), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["difference"] <= 1e-4
    assert said["bytes"] == exported.stat().st_size
    want = pytest.approx(scores(capsys, bars, model), abs=1e-4)
    assert scores(capsys, bars, model, "--optimize") == want
    assert scores(capsys, bars, model, "--runtime", "onnx") == want
    assert scores(capsys, bars, exported, "--runtime", "onnx") == want


def test_an_optimized_test_says_so_and_agrees(model, bars, tmp_path, capsys):
    results = []
    for name, options in (("plain", []), ("optimized", ["--optimize"])):
        out = tmp_path / name / "results.json"
        arguments = ["test", str(model), "--data", str(bars), "--views", "2x1", "--workers", "0"]
        assert main([*arguments, "--out", str(out), *options]) == 0
        results.append(json.loads(out.read_text()))
    assert [found["protocol"]["optimized"] for found in results] == [False, True]
    assert results[0]["metrics"] == results[1]["metrics"]
    for before, after in zip(*(found["videos"] for found in results), strict=True):
        assert before["scores"] == pytest.approx(after["scores"], abs=1e-4)


def test_bad_input_is_one_sentence(model, tmp_path, bars, capsys):
    file, wrong = str(bars / "up" / "0.mp4"), tmp_path / "wrong.onnx"
    wrong.write_bytes(b"not a graph")
    for arguments, sentence in (
        (["export", str(model), "--onnx", "m.pt"], "must name a file that ends in .onnx, got m.pt"),
        (["predict", file, "--model", "no.onnx", "--runtime", "onnx"], "no.onnx: no such file"),
        (["predict", file, "--model", str(wrong), "--runtime", "onnx"], "not an ONNX network"),
        (
            ["predict", file, "--model", str(model), "--runtime", "onnx", "--optimize"],
            "--optimize is for --runtime torch",
        ),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
    assert not (tmp_path / "m.pt").exists()
