"""`timeline`, `features` and `predict` as commands: files, forms, what is kept and what is not."""

import csv
import io
import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest
import torch
from videos import frame_with_number, write_video

import nonlocalnet as nln
from nonlocalnet.cli.main import main
from nonlocalnet.data.clips import ClipConfig

CLIP = ClipConfig(frames=4, stride=2, crop=32, short_side=(32, 40), test_short_side=32)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model and a folder with a video, a folder of frames, an array, and what is none."""
    import av

    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    model = nln.build("c2d_tiny", 3, width=4)
    torch.nn.init.normal_(model.fc.weight)
    nln.save(model, folder / "m.safetensors", labels=["a", "b", "c"], clip=asdict(CLIP))
    heap = folder / "heap"
    write_video(heap / "deep" / "v.mp4", 40)
    (heap / "frames").mkdir()
    pictures = [frame_with_number(n) for n in range(20)]
    for n, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        with av.open(str(heap / "frames" / f"{n}.png"), "w") as container:
            stream = container.add_stream("png", rate=1)
            stream.height, stream.width, stream.pix_fmt = frame.height, frame.width, "rgb24"
            container.mux(stream.encode(frame))
    np.save(heap / "array.npy", np.stack(pictures))
    np.save(heap / "array.seconds.npy", np.arange(20) / 30)
    (heap / "README.txt").write_text("no video")
    (heap / "thumbnail.png").write_bytes((heap / "frames" / "0.png").read_bytes())
    return folder


def test_predict_takes_files_folders_frames_and_arrays(made, capsys):
    heap, model = made / "heap", ["--model", str(made / "m.safetensors")]
    assert main(["predict", str(heap), *model, "--json", "--top", "3"]) == 0
    rows = json.loads(capsys.readouterr().out)
    names = ["array.npy", "deep/v.mp4", "frames"]
    assert [row["path"] for row in rows] == [str(heap / name) for name in names]
    assert rows[0]["top"] == rows[2]["top"]  # the same pictures
    one_by_one = [str(heap / name) for name in reversed(names)]
    assert main(["predict", *one_by_one, *model, "--csv", "--top", "3"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["rank"] for row in table] == ["1", "2", "3"] * 3
    want = [(row["path"], e["label"], e["score"]) for row in rows[::-1] for e in row["top"]]
    assert [(r["path"], r["label"], float(r["score"])) for r in table] == want
    frames = np.load(heap / "array.npy")
    said = nln.load(made / "m.safetensors").predict(frames, fps=30.0)
    assert said.top(3) == [(e["label"], e["score"]) for e in rows[0]["top"]]


def test_timeline_writes_each_form_and_prints_json(made, tmp_path, capsys):
    arguments = ["timeline", str(made / "heap" / "deep" / "v.mp4")]
    arguments += ["--model", str(made / "m.safetensors"), "--every", "0.2"]
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["windows"] == 7  # 1 + ceil((40 - 8) / 6)
    for form in ("json", "csv", "srt"):
        out = tmp_path / "new" / f"t.{form}"
        assert main([*arguments, "--out", str(out)]) == 0
        assert f"written to {out}" in capsys.readouterr().out
        text = out.read_text()
        if form == "json":
            assert json.loads(text) == printed
        elif form == "csv":
            rows = [{k: r[k] for k in r} for r in csv.DictReader(io.StringIO(text))]
            assert [r["label"] for r in rows] == [s["label"] for s in printed["timeline"]]
            assert [float(r["end"]) for r in rows] == [s["end"] for s in printed["timeline"]]
        else:
            assert text.count(" --> ") == len(printed["timeline"])


def test_features_are_kept_until_something_changes(made, tmp_path, capsys):
    heap = shutil.copytree(made / "heap", tmp_path / "heap")
    (heap / "bad.mp4").write_text("no video")
    command = ["features", str(heap), "--model", str(made / "m.safetensors"), "--json"]
    command += ["--out", str(tmp_path / "f"), "--every", "0.2"]
    assert main(command) == 2
    said = capsys.readouterr()
    counts = json.loads(said.out)
    assert (counts["videos"], counts["kept"], counts["unreadable"]) == (3, 0, 1)
    assert "bad.mp4" in said.err
    with np.load(tmp_path / "f" / "deep" / "v.mp4.npz") as held:
        assert held["vectors"].shape == (7, 128)
        np.testing.assert_allclose(held["start"][:3], [0, 0.2, 0.4], atol=1e-3)
        assert str(held["layer"]).startswith("res5")
    rows = list(csv.DictReader((tmp_path / "f" / "features.csv").read_text().splitlines()))
    assert len(rows) == counts["rows"] == 7 + 3 + 3
    first = (tmp_path / "f" / "features.csv").read_bytes()
    (heap / "bad.mp4").unlink()
    (tmp_path / "f" / "array.npy.npz").write_bytes(b"torn")
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 2
    assert (tmp_path / "f" / "features.csv").read_bytes() == first
    assert main([*command, "--window", "0.5"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["timeline", "x.mp4", "--out", "x.txt"], "--out must end in .json, .csv, .srt"),
        (["timeline", "{made}/heap/deep/v.mp4", "--every", "0"], "every=0 s must be above 0"),
        (["timeline", "{made}/heap/deep/v.mp4", "--window=-1"], "window=-1 s must be above 0"),
        (["timeline", "{made}/heap/array.npy", "--threshold", "2"], "threshold=2 must be a score"),
        (["timeline", "{made}/nowhere.mp4"], "no such file"),
        (["features", "{made}/nowhere"], "no such file or folder"),
        (["predict", "{made}/heap", "--json", "--csv"], "choose one"),
        (["predict", "{made}/empty"], "no video in this folder"),
    ],
)
def test_wrong_words_are_one_sentence(made, arguments, sentence, capsys):
    (made / "empty").mkdir(exist_ok=True)
    arguments = [argument.format(made=made) for argument in arguments]
    assert main([*arguments, "--model", str(made / "m.safetensors")]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
