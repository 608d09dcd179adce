"""`nonlocalnet recipes` prints the tables, in 100 columns, and rehearses."""

import json
from pathlib import Path

import pytest

from nonlocalnet.cli.main import main
from nonlocalnet.recipes.tables import TABLES

DOCS = Path(__file__).parents[2] / "docs" / "recipes.md"


def test_the_tables_are_in_the_docs_and_fit_100_columns(capsys):
    assert main(["recipes"]) == 0
    said = capsys.readouterr().out
    assert said in DOCS.read_text(encoding="utf-8"), "renew docs/recipes.md"
    lines = said.splitlines()
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)
    assert "R50 5-block    nl5_c2d_r50      73.8    91.0" in lines


def test_one_table(capsys):
    assert main(["recipes", "--table", "4"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Table 4. Charades, R101, on train/val and on trainval/test"
    assert said[3].split("  ")[0] == "2-Stream [43], train/val"
    assert said[3].split()[-2:] == ["-", "18.6"]  # somebody else's: no recipe
    assert said[-1].split()[-2:] == ["nl5_i3d_r101_charades_trainval", "39.5"]


def test_json_is_the_same(capsys):
    assert main(["recipes", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == [*TABLES, "5", "6"]
    assert answer["3"]["rows"][-1] == {
        "row": "NL I3D [ours], R101",
        "recipe": "nl5_i3d_r101_128f",
        "published": {"top1": 77.7, "top5": 93.3, "avg_test": 83.8},
    }
    assert answer["3"]["rows"][0]["recipe"] is None


def test_the_check_says_what_it_did(capsys):
    assert main(["recipes", "--check", "c2d_r50"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert max(map(len, said)) <= 100
    cells = said[-1].split()
    assert cells[:6] == ["c2d_r50", "random", "weights", "16x64x64", "64x85", "24.33"]
    assert all(float(loss) == pytest.approx(6, abs=1) for loss in cells[6:8])  # log(400) = 5.99


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--check", "c2d_r5O"], "no recipe 'c2d_r5O'; nearest: c2d_r50"),
        (["--table", "2h"], "no table '2h'; choose one of 2a, 2b"),
        (["--full"], "names of recipes and --full belong to --check; add it"),
        (["--check", "c2d_r50", "--table", "2a"], "names of recipes or --table, not both"),
    ],
)
def test_a_wrong_word_is_one_sentence(arguments, sentence, capsys):
    assert main(["recipes", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert said.err.count("\n") == 1
