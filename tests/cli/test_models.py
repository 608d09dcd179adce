"""`nonlocalnet models` prints what it counted, and fits 80 columns."""

import json
from pathlib import Path

import pytest

from nonlocalnet.cli.main import main
from nonlocalnet.models.paper import check
from nonlocalnet.models.zoo import list_models

DOCS = Path(__file__).parents[2] / "docs" / "models.md"


def test_the_table_names_every_network_in_80_columns(capsys, monkeypatch):
    small = [name for name in list_models() if name.endswith(("c2d_r50", "tiny"))]
    monkeypatch.setattr("nonlocalnet.models.zoo.list_models", lambda: small)
    assert main(["models", "--clip", "8x64x64"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)
    assert [line.split()[0] for line in lines[4 : 4 + len(small)]] == small
    assert "nl5_*_r50    res3 1 3 (64 x 16), res4 1 3 5 (16 x 4)" in lines
    assert said.err == ""


def test_json_is_the_count(capsys):
    assert main(["models", "nl1_c2d_tiny", "--clip", "4x64x64", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    (network,) = answer["networks"]
    assert (network["name"], network["pairwise"]) == ("nl1_c2d_tiny", 2097152)
    assert network["sizes"]["res3"] == [4, 8, 8, 128]
    assert network["blocks"] == {"res3.0.nonlocal_block": [256, 64]}


def test_a_detection_recipe_has_its_costs_by_part(capsys):
    """R50 with one block: 267.4 G, 4.1 of them products; docs/detection.md has the same."""
    assert main(["models", "nl1_mask_rcnn_r50"]) == 0
    lines = capsys.readouterr().out.splitlines()
    figures = dict(line.rsplit(maxsplit=1) for line in lines[3:] if line)
    assert figures["all"] == "267.36" and figures["N x M products among them"] == "4.10"
    assert figures["parameters, M"] == "46.50"
    assert figures["non-local blocks after"] == "layer3.4"
    assert main(["models", "tiny_keypoint_rcnn", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["blocks"] == [] and answer["pairwise"] == 0 < answer["task_head"]


def test_an_option_of_several_words_is_understood_with_dashes_as_without(capsys):
    said = []
    for option in ("--stride-in-1x1", "--stride_in_1x1"):
        assert main(["models", "nl1_i3d_tiny", option, "--json"]) == 0
        said.append(capsys.readouterr().out)
    assert main(["models", "nl1_i3d_tiny", "--json"]) == 0
    assert said[0] == said[1] != capsys.readouterr().out


@pytest.fixture(scope="module")
def counted_once():
    """The real check, for all tests here: it takes seconds."""
    checked = check()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nonlocalnet.models.paper.check", lambda progress: checked)
        yield


def test_the_check_stands_beside_the_paper(capsys, counted_once):
    assert main(["models", "--check"]) == 0
    said = capsys.readouterr().out
    assert said in DOCS.read_text(encoding="utf-8"), "renew docs/models.md"
    lines = said.splitlines()
    assert max(map(len, lines)) <= 80
    (params,) = [line for line in lines if line.startswith("C2D-R101 parameters")]
    assert params.split()[3:] == ["43.2", "43.214", "43.214", "43.214", "43.214"]
    (work,) = [line for line in lines if line.startswith("C2D-R101 multiply-adds")]
    assert work.split()[3:] == ["34.2", "35.286*", "34.361*", "35.083*", "34.172", "[2]"]
    assert any(line.startswith("[2] 34.2 G takes two things") for line in lines)


def test_the_check_as_json(capsys, counted_once):
    assert main(["models", "--check", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [s["preset"] for s in answer["settings"]] == ["paper", "paper", "official", "official"]
    assert answer["claims"][0]["holds"] == [True] * 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["c2d_r5O"], "no model 'c2d_r5O'; nearest: c2d_r50"),
        (["--preset", "caffe"], "no preset 'caffe'"),
        (["--clip", "32x224"], "--clip takes frames x height x width"),
        (["--clip", "0x224x224"], "a clip of 0 frames of 224x224 px does not survive"),
    ],
)
def test_a_wrong_word_is_one_sentence(arguments, sentence, capsys):
    assert main(["models", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert said.err.count("\n") == 1
