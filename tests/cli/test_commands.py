"""The main job through the commands, and what bad input gets: one sentence and exit 2."""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict

import av
import pytest
from videos import write_sound, write_video

import nonlocalnet as nln
from nonlocalnet.cli.main import COMMANDS, main
from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.data.listing import list_videos
from nonlocalnet.models.zoo import build


@pytest.fixture(scope="module")
def trained(bars, tmp_path_factory):
    """A run of the train command on real files, small but able to tell up from down."""
    out = tmp_path_factory.mktemp("run") / "bars"
    arguments = ["train", str(bars), "--out", str(out), "--workers", "0", "--json"]
    arguments += ["--model", "nl1_i3d_tiny", "--frames", "8", "--crop", "32", "--epochs", "60"]
    arguments += ["--batch", "5", "--lr", "0.02", "--flip", "false"]
    assert main(arguments) == 0
    return out


def test_a_folder_of_clips_becomes_a_tested_classifier(trained, bars, capsys):
    assert {p.name for p in trained.iterdir()} >= {
        "config.yaml",
        "metrics.csv",
        "last.ckpt",
        "best.safetensors",
        "tensorboard",
    }
    assert main(["test", str(trained), "--data", str(bars), "--json", "--workers", "0"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["top1@10x1x32"] == 1.0
    results = json.loads((trained / "results.json").read_text())
    assert results["protocol"]["evaluated"] == 6
    assert results["protocol"]["split"] == "test, drawn by the split column of videos.csv"


def test_the_split_that_the_seed_drew_is_the_one_that_is_tested(bars, tmp_path, capsys):
    """`test` drew that of seed 0, and had training videos among its own."""
    for direction in ("up", "down"):
        shutil.copytree(bars / direction, tmp_path / "in" / direction)
    data, out = str(tmp_path / "in"), tmp_path / "run"
    arguments = ["train", data, "--out", str(out), "--seed", "1", "--workers", "0"]
    arguments += ["--model", "c2d_tiny", "--width", "4", "--frames", "4", "--crop", "32"]
    assert main([*arguments, "--max_steps", "1"]) == 0
    said = capsys.readouterr().out
    assert f"nonlocalnet test {out} --data {data}" in said
    assert main(["test", str(out), "--data", data, "--workers", "0"]) == 0
    tested = {video["path"] for video in json.loads((out / "results.json").read_text())["videos"]}
    splits = [
        {str(row.path) for row in list_videos(data, seed=seed).rows if row.split == "test"}
        for seed in (0, 1)
    ]
    assert splits[0] != splits[1]
    assert tested == splits[1]


def test_predict_names_files_and_folders(trained, bars, capsys):
    assert main(["predict", str(bars / "up"), "--model", str(trained), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 8
    assert all(row["top"][0]["label"] == "up" for row in rows)
    assert main(["predict", str(bars / "down" / "0.mp4"), "--model", str(trained)]) == 0
    assert "%  down" in capsys.readouterr().out


def test_predict_and_explain_read_with_the_reader_asked_for(trained, bars, tmp_path, capsys):
    file, model = str(bars / "up" / "0.mp4"), ["--model", str(trained), "--json"]
    drawn = ["--out", str(tmp_path / "arrows.png")]
    said = {}
    for reader in ("pyav", "opencv"):
        assert main(["predict", file, *model, "--reader", reader]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert main(["explain", file, *model, *drawn, "--reader", reader]) == 0
        said[reader] = (row["top"], json.loads(capsys.readouterr().out))
    scores = [{e["label"]: e["score"] for e in top} for top, _ in said.values()]
    assert scores[0] == pytest.approx(scores[1], abs=0.1)  # scaled by another library
    assert scores[0] != scores[1]
    assert said["pyav"][1]["looks"][0]["from"] == said["opencv"][1]["looks"][0]["from"]
    for command in (["predict"], ["explain", *drawn]):
        assert main([*command, file, *model, "--reader", "vlc"]) == 2
        assert "no reader 'vlc'; choose one of pyav" in capsys.readouterr().err


def test_explain_writes_every_kind_of_picture_and_the_page(trained, bars, tmp_path, capsys):
    file, model = str(bars / "up" / "0.mp4"), ["--model", str(trained)]
    kinds = {
        "row.png": ["--view", "both", "--panels", "8"],
        "figure1.svg": ["--style", "cascade"],
        "moving.gif": ["--view", "heat"],
        "moving.mp4": ["--block", "all"],
    }
    for name, options in kinds.items():
        assert main(["explain", file, *model, "--out", str(tmp_path / name), *options]) == 0
    capsys.readouterr()
    page = str(tmp_path / "clip.html")
    assert main(["explain", file, *model, "--page", page, "--faithful", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["written"] == [page] and len(told["faithful"]["drops_random"]) == 20
    assert {p.name for p in tmp_path.iterdir()} == {*kinds, "clip.html"}, "and nothing beside them"
    with av.open(str(tmp_path / "moving.mp4")) as moving:
        assert moving.streams.video[0].frames == 3 * 8, (
            "five of its frames in a second, 15 pictures"
        )
    assert main(["explain", file, *model, "--out", str(tmp_path / "a.png"), "--faithful"]) == 0
    assert "random others by" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--out", "a.bmp"], "--out takes .png, .svg, .pdf, .mp4, .gif, got 'a.bmp'"),
        (["--panels", "0"], "--panels must be 1 or more, got 0"),
        (["--style", "cascade", "--view", "heat"], "--style cascade draws arrows in one picture"),
        (["--style", "cascade", "--out", "a.gif"], "got --out a.gif and --view arrows"),
        (["--clips", "0"], "clips must be 1 or more, got 0"),
        (["--clips", "2", "--faithful"], "--faithful hides places of one clip, got --clips 2"),
        (["--block", "res3.0,res9"], "no non-local block at 'res9'; there are: res3.0"),
        (["--at", "1,2"], "--at takes t,x,y"),
    ],
)
def test_explain_says_what_it_cannot_draw(trained, bars, options, sentence, capsys):
    assert main(["explain", str(bars / "up" / "0.mp4"), "--model", str(trained), *options]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--style", "cascade"], ["--out", "a.gif"]])
def test_a_picture_of_one_block_is_refused_for_two(bars, tmp_path, options, capsys):
    """Only the first of them was drawn, and nothing said so."""
    model = build("c2d_tiny", 2, nonlocal_={"res3": (0, 1)}, width=4)
    clip = ClipConfig(frames=4, stride=1, crop=32, short_side=(32, 32), test_short_side=32)
    nln.save(model, tmp_path / "m.safetensors", labels=["a", "b"], clip=asdict(clip))
    explained = ["explain", str(bars / "up" / "0.mp4"), "--model", str(tmp_path / "m.safetensors")]
    assert main([*explained, "--block", "all", *options]) == 2
    assert "show one block, got res3.0, res3.1; choose one" in capsys.readouterr().err


def test_a_run_goes_on_only_when_told(trained, bars, capsys):
    assert main(["train", str(bars), "--out", str(trained)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", str(bars), "--out", str(trained), "--resume", "--crop", "64"]) == 2
    assert "other settings" in capsys.readouterr().err


BAD = {
    "text": (lambda p: p.write_text("no video\n" * 50), "not a video"),
    "empty": (lambda p: p.write_bytes(b""), "the file is empty"),
    "sound": (write_sound, "no video stream"),
    "missing": (lambda p: None, "no such file or folder"),
}


@pytest.mark.parametrize("kind", BAD)
def test_predict_on_a_bad_file_is_one_sentence_and_exit_2(trained, tmp_path, kind, capsys):
    make, sentence = BAD[kind]
    file = tmp_path / "clip.mp4"
    make(file)
    assert main(["predict", str(file), "--model", str(trained)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert sentence in said.err
    assert str(file) in said.err


def test_one_bad_file_does_not_cost_the_others(trained, bars, tmp_path, capsys):
    (tmp_path / "a.mp4").write_text("no video")
    (tmp_path / "b.mp4").write_bytes((bars / "up" / "0.mp4").read_bytes())
    assert main(["predict", str(tmp_path), "--model", str(trained), "--json"]) == 2
    said = capsys.readouterr()
    assert [row["path"] for row in json.loads(said.out)] == [str(tmp_path / "b.mp4")]
    assert "a.mp4" in said.err


def test_a_short_and_a_sideways_clip_get_an_answer(trained, tmp_path, capsys):
    short = write_video(tmp_path / "short.mp4", 3)
    phone = write_video(tmp_path / "phone.mp4", 20, turn=True)
    for file in (short, phone):
        assert main(["predict", str(file), "--model", str(trained), "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert sum(entry["score"] for entry in row["top"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["prdict"], "no command 'prdict'; did you mean predict?"),
        (["predict", "x.mp4"], "model"),
        (["predict", "x.mp4", "--model", "m", "--top", "0"], "--top must be 1 label or more"),
        (["train", "nowhere"], "nowhere: no such folder"),
        (["train", ".", "--epochs", "many"], "epochs"),
        (["test", "nowhere", "--data", "."], "nowhere: no such model file"),
        (["test", "nowhere", "--data", ".", "--views", "10x2"], "CLIPSx1"),
        (["explain", "x.mp4", "--model", "m", "--at", "here"], "--at takes t,x,y"),
    ],
)
def test_wrong_words_are_one_sentence(arguments, sentence, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--batch", "0"], "batch=0 must be 1 clip or more"),
        (["--accumulate", "0"], "accumulate=0 must be 1 or more"),
        (["--frames", "8", "--seconds", "2", "--fps", "15"], "got frames=8, stride=0, seconds=2.0"),
        (["--recipe", "c2d_r50", "--train.batch", "0"], "batch=0 must be 1 or more"),
        (["--recipe", "c2d_r50", "--test.views", "ten"], "views"),
    ],
)
def test_settings_that_cannot_be_are_one_sentence(bars, tmp_path, options, sentence, capsys):
    if "--recipe" in options:
        options = [*options, "--model.num_classes", "2", "--data"]
    assert main(["train", *options, str(bars), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_a_switch_does_not_take_what_follows_it(bars, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--balanced", str(bars), "--flip", "no", "--print_config"])
    printed = capsys.readouterr().out
    assert "balanced: true" in printed
    assert "flip: false" in printed


def test_settings_can_come_from_a_file(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text("epochs: 7\nlr: 0.5\n")
    with pytest.raises(SystemExit):
        main(["train", "x", "--config", str(tmp_path / "s.yaml"), "--lr", "0.25", "--print_config"])
    printed = capsys.readouterr().out
    assert "epochs: 7" in printed
    assert "lr: 0.25" in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"Example: nonlocalnet {name}" in " ".join(capsys.readouterr().out.split())


def test_no_traceback_from_a_real_process(tmp_path):
    (tmp_path / "x.mp4").write_text("text")
    done = subprocess.run(
        [sys.executable, "-m", "nonlocalnet", "predict", str(tmp_path / "x.mp4"), "--model", "m"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_doctor_runs_and_finds_the_decoder(capsys):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["decode"].startswith("ok")
    assert report["forward"].startswith("ok")
