"""Train and test on lists, by time, and what they say of missing videos and several labels."""

import json

import pytest

from nonlocalnet.cli.main import main

DIRECTIONS = ("down", "up")
TINY = ["--model", "c2d_tiny", "--width", "4", "--crop", "32", "--epochs", "1", "--batch", "5"]


@pytest.fixture(scope="module")
def lists(bars, tmp_path_factory):
    """PySlowFast lists of the bars with one video too many in the test list."""
    folder = tmp_path_factory.mktemp("lists")
    for split, numbers in (("train", range(3, 8)), ("test", range(3))):
        lines = [f"{name}/{i}.mp4 {k}" for k, name in enumerate(DIRECTIONS) for i in numbers]
        lines += ["up/gone.mp4 1"] if split == "test" else []
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "classes.txt").write_text("\n".join(DIRECTIONS) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(bars, lists, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "lists"
    arguments = ["train", str(lists), "--videos", str(bars), "--out", str(out), "--workers", "0"]
    arguments += [*TINY, "--seconds", "0.6", "--fps", "10", "--short", "clamp"]
    assert main(arguments) == 0
    return out


def test_the_protocol_says_how_clips_were_taken_and_what_is_missing(bars, lists, trained, capsys):
    arguments = ["test", str(trained), "--data", str(lists / "test.csv"), "--videos", str(bars)]
    assert main([*arguments, "--workers", "0"]) == 0
    said = capsys.readouterr().out
    assert (
        f"warning: test.csv: 1 of 7 listed videos are missing under {bars}, first: up/gone.mp4"
        in said
    )
    assert "6 videos tested, 1 unreadable or missing" in said
    results = json.loads((trained / "results.json").read_text())
    protocol = results["protocol"]
    assert (protocol["frames"], protocol["stride"], protocol["fps"]) == (6, 3, 30.0)
    assert protocol["clip_starts"] == (
        "round(j (N - span) / (clips - 1)), N and span in frames at 30 fps; "
        "short videos repeat their last frame"
    )
    assert (protocol["evaluated"], protocol["missing"]) == (6, 1)
    assert protocol["split"] == "test, drawn by the lists train.csv, test.csv"
    assert results["faults"] == [f"{lists / 'test.csv'}:7: no file {bars / 'up/gone.mp4'}"]


def test_a_folder_and_its_lists_give_the_same_scores(bars, lists, trained):
    scores = []
    for data in ([str(bars)], [str(lists), "--videos", str(bars)]):
        assert main(["test", str(trained), "--data", *data, "--workers", "0", "--json"]) == 0
        videos = json.loads((trained / "results.json").read_text())["videos"]
        scores.append([(video["path"], video["label"], video["scores"]) for video in videos])
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        ("path,label\nup/0.mp4,up\ndown/0.mp4\n", [], "list.csv:3: 1 value in 'down/0.mp4'"),
        ("path,label\nup/0.mp4,up\n", ["--videos", "nowhere"], "nowhere: no such folder"),
        ("up/0.mp4 up\nup/1.mp4 up\ndown/0.mp4 down\ndown/1.mp4 down\n", ["--fps", "9"], "fps=9.0"),
    ],
)
def test_a_bad_list_is_one_sentence_and_exit_2(bars, tmp_path, capsys, text, arguments, sentence):
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    videos = [] if "--videos" in arguments else ["--videos", str(bars)]
    out = ["--out", str(tmp_path / "run")]
    assert main(["train", str(tmp_path / "list.csv"), *videos, *out, *arguments, *TINY]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
