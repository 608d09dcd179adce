"""A set as people have it: some files are broken, and everything still ends as it should."""

import json
import shutil

import pytest
from conftest import DIRECTIONS, moving_bar
from videos import write_sound, write_video

from nonlocalnet.cli.main import main

GOOD = 10  # videos per class
SETTINGS = ["--model=nl1_c2d_tiny", "--width=4", "--frames=4", "--crop=32", "--epochs=2"]


def good_set(root):
    for direction in DIRECTIONS:
        for i in range(GOOD):
            pictures = moving_bar(direction, 10 * i + len(direction))
            write_video(root / direction / f"bar{'abcdefghij'[i]}.mp4", pictures)
    return root


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """The same good videos alone, and among 10 % truncated ones and one of every other fault."""
    folder = tmp_path_factory.mktemp("sets")
    clean = good_set(folder / "clean")
    rotten = folder / "rotten"
    shutil.copytree(clean, rotten)
    bad = {}
    for i in range(2):
        path = write_video(rotten / DIRECTIONS[i] / f"cut{'xy'[i]}.mp4", 60)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        bad[f"{DIRECTIONS[i]}/{path.name}"] = "truncated"
    (rotten / "up" / "zero.mp4").touch()
    bad["up/zero.mp4"] = "unreadable"
    write_sound(rotten / "up" / "sound.mp4")
    bad["up/sound.mp4"] = "no video stream"
    write_video(rotten / "down" / "three.mp4", 3)
    bad["down/three.mp4"] = "too short"
    write_video(rotten / "down" / "hang.mp4", 20)
    bad["down/hang.mp4"] = "unreadable"
    for root in (clean, rotten):  # upright in one, the same flag in the other: not a fault
        write_video(root / "up" / "sideways.mp4", moving_bar("up", 77), turn=True)
    return clean, rotten, bad


def test_a_rotten_set_is_checked_trained_on_and_tested(sets, tmp_path, capsys):
    clean, rotten, bad = sets
    arguments = ["check", str(rotten), "--reader=hanging_reader", "--limit=8", "--json"]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert {row["path"]: row["state"] for row in report["bad"]} == bad
    assert report["states"]["ok"] == 2 * GOOD + 1

    # The reader that hangs is still the one in use: what the manifest excludes is not opened.
    train = ["train", str(rotten), "--reader=hanging_reader", f"--out={tmp_path}/rotten"]
    assert main([*train, *SETTINGS, "--workers=0"]) == 0
    said = capsys.readouterr().out
    table = said[said.index("epoch 1: 6 files were left out from the start:") :]
    for path, state in bad.items():
        assert f"  {rotten / path}: {state} by the manifest: " in table

    scores = []
    for data in (clean, rotten):
        out = tmp_path / f"{data.name}.json"
        test = ["test", f"{tmp_path}/rotten", f"--data={data}", "--split=train", f"--out={out}"]
        assert main([*test, "--views=2x1", "--workers=0"]) == 0
        results = json.loads(out.read_text())
        scores.append({v["path"].removeprefix(str(data)): v["scores"] for v in results["videos"]})
    shared = scores[0].keys() & scores[1].keys()
    assert len(shared) >= GOOD
    for path in shared:
        assert scores[0][path] == scores[1][path], path


def test_a_prepared_set_trains_as_its_source(sets, tmp_path, capsys):
    clean, _, _ = sets
    cache = tmp_path / "cache"
    prepare = ["prepare", str(clean), f"--out={cache}", "--short-side=48"]
    assert main(prepare) == 0
    assert f"{2 * GOOD + 1} videos in {cache}" in capsys.readouterr().out
    for name, more in (("source", []), ("cache", [f"--prepared={cache}"])):
        train = ["train", str(clean), f"--out={tmp_path}/{name}", "--workers=0", "--jitter=1.0"]
        assert main([*train, *SETTINGS, *more]) == 0
    losses = [
        [line.split(",")[3] for line in (tmp_path / name / "metrics.csv").read_text().splitlines()]
        for name in ("source", "cache")
    ]
    first = [float(column[1]) for column in losses]
    assert first[0] == pytest.approx(first[1], abs=0.05)  # resized once more, otherwise the same


def test_check_warns_of_a_set_and_not_of_a_heap(sets, tmp_path, capsys):
    clean, _, _ = sets
    labelled = tmp_path / "set"
    for split, letters in (("train", "abcde"), ("test", "fg")):
        for direction in DIRECTIONS:
            (labelled / split / direction).mkdir(parents=True)
            for letter in letters[: 5 if direction == "up" else 4]:
                source = clean / direction / f"bar{letter}.mp4"
                shutil.copy(source, labelled / split / direction)
    shutil.copy(clean / "up" / "bara.mp4", labelled / "test" / "up" / "twin.mp4")
    bad = labelled / "train" / "up" / "bare.mp4"
    bad.write_bytes(bad.read_bytes()[:2000])  # not counted: it cannot be learnt from
    assert main(["check", str(labelled), "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    leak = f"{labelled}/test/up/twin.mp4 is {labelled}/train/up/bara.mp4"
    assert len(warnings) == 2
    assert "1 of the test videos has the same content as train videos" in warnings[0]
    assert leak in warnings[0]
    assert "2 of 2 classes have fewer than 5 training videos" in warnings[1]
    assert main(["check", str(labelled)]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("warning: ")] == [
        f"warning: {sentence}" for sentence in warnings
    ]

    heap = tmp_path / "heap"
    heap.mkdir()
    shutil.copy(clean / "up" / "bara.mp4", heap)
    assert main(["check", str(heap)]) == 0
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "--reader=vlc"], "no reader 'vlc'"),
        (["check", "--workers=0"], "workers=0 must be 1 or more"),
        (["check", "--limit=0"], "limit=0 s above 0"),
        (["check", "--out={folder}"], "{folder}: cannot be read or written (Is a directory)"),
        (["prepare", "--out={file}"], "{file}: cannot be read or written (File exists)"),
        (["prepare", "--out={folder}", "--short-side=0"], "short_side=0 px must be 16 px or more"),
        (["train", "--out={folder}/run", "--reader=vlc"], "no reader 'vlc'"),
        (["train", "--out={file}", *SETTINGS], "{file}"),
    ],
)
def test_bad_settings_are_one_sentence(sets, tmp_path, capsys, arguments, sentence):
    data = tmp_path / "data"
    for direction in DIRECTIONS:
        shutil.copytree(sets[0] / direction, data / direction)
    (tmp_path / "file").touch()
    places = {"folder": str(tmp_path), "file": str(tmp_path / "file")}
    command, *rest = [argument.format(**places) for argument in arguments]
    assert main([command, str(data), *rest]) == 2
    said = capsys.readouterr().err
    assert sentence.format(**places) in said
    assert said.count("\n") == 1
