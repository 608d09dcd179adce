"""convert and verify: what they write, and one sentence for everything hostile or damaged."""

import json

import foreign
import hostile
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from videos import write_video

import nonlocalnet as nln
from nonlocalnet.cli.main import main

LABELS = ["a", "b", "c", "d", "e"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    foreign.write(foreign.small("slowfast"), "slowfast", folder / "m.pyth")
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    model = nln.build("nl1_c2d_tiny", 5, width=4)
    nln.save(model, folder / "ours.safetensors", labels=LABELS, clip={"frames": 4})
    return folder


def test_there_checked_and_back(files, tmp_path, capsys):
    out, back = tmp_path / "new" / "m.safetensors", tmp_path / "back.pyth"
    labels = str(files / "labels.txt")
    assert main(["convert", str(files / "m.pyth"), str(out), "--labels", labels]) == 0
    assert "327 tensors from slowfast" in capsys.readouterr().out
    assert main(["verify", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(out), "difference": 0.0}
    assert main(["verify", str(out)]) == 0
    assert "as when it was written" in capsys.readouterr().out
    assert main(["convert", str(out), str(back), "--to", "slowfast", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(back), "notes": []}
    assert set(torch.load(back, weights_only=True)["model_state"]) > set(foreign.small("slowfast"))


def test_json_names_every_tensor(files, tmp_path, capsys):
    arguments = [str(files / "m.pyth"), str(tmp_path / "m"), "--json", "--kind", "dot_product"]
    assert main(["convert", *arguments, "--labels", str(files / "labels.txt")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["loaded"].values()) == set(foreign.small("slowfast"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.pkl"], "nowhere.pkl: no such file"),
        (["m.pyth"], "has 5 classes, not the 400"),
        (["m.pyth", "--labels", "nowhere.txt"], "nowhere.txt: no such file"),
        (["m.pyth", "--source", "keras"], "no source 'keras'"),
        (["m.pyth", "--source", "caffe2"], "residual blocks per stage are ()"),
        (["m.pyth", "--preset", "keras"], "no preset 'keras'"),
        (["m.pyth", "--clip", "32"], "--clip takes FRAMESxSTRIDE"),
        (["m.pyth", "--clip", "99999x1"], "clip.frames=99999 must be 10000 or fewer"),
        (["m.pyth", "--clip", "8x0"], "stride=0"),
        (["m.pyth", "--to", "slowfast"], "not a safetensors file"),
        (["ours.safetensors", "--to", "keras"], "no names for 'keras'"),
        (["ours.safetensors", "--to", "mmaction2", "--kind", "gaussian"], "drop them with --to"),
    ],
)
def test_wrong_words_are_one_sentence(files, tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(files)
    out = tmp_path / "out"
    assert main(["convert", arguments[0], str(out), *arguments[1:]]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert not out.exists()


def test_a_place_that_cannot_be_written(files, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "m.safetensors"
    labels = str(files / "labels.txt")
    assert main(["convert", str(files / "m.pyth"), str(out), "--labels", labels]) == 2
    assert "cannot be read or written" in capsys.readouterr().err


FORMATS = {"pkl": hostile.pickles, "pth": hostile.torch_zips, "old.pth": hostile.torch_legacy}
BAD = [(s, n) for s, make in FORMATS.items() for n in make(hostile.Path("nowhere"))]


def refused(arguments, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("nonlocalnet: ")
    assert "Traceback" not in said.err


@pytest.mark.parametrize(("suffix", "name"), BAD)
def test_bad_checkpoints_write_and_run_nothing(tmp_path, capsys, suffix, name):
    folder = tmp_path / "in"
    folder.mkdir()
    mark, file, out = folder / hostile.MARK, folder / f"m.{suffix}", tmp_path / "out.safetensors"
    file.write_bytes(FORMATS[suffix](mark)[name])
    refused(["convert", str(file), str(out)], capsys)
    assert sorted(tmp_path.rglob("*")) == [folder, file]


SAFETENSORS = [
    "header_longer_than_the_file",
    "header_no_json",
    "offsets_outside",
    "shape_against_bytes",
    "unknown_type",
    "cut_off",
    "empty",
    "metadata_no_json",
    "metadata_a_list",
    "unknown_network",
    "unknown_option",
    "giant_network",
    "other_network",
    "no_probe",
    "labels_missing",
    "labels_no_text",
    "one_logit_for_all",
    "metadata_too_deep",
    "tensor_missing",
]


@pytest.mark.parametrize("name", SAFETENSORS)
def test_bad_model_files_are_refused(files, tmp_path, capsys, name):
    bad = hostile.safetensors((files / "ours.safetensors").read_bytes())
    assert set(bad) == set(SAFETENSORS)
    (tmp_path / "m.safetensors").write_bytes(bad[name])
    refused(["verify", str(tmp_path / "m.safetensors")], capsys)
    refused(["convert", str(tmp_path / "m.safetensors"), str(tmp_path / "out")], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize(
    "clip",
    [
        {"frames": "x"},
        {"frames": 0},
        {"frames": 10**9},
        {"colour": 1},
        {"mean": "x"},
        {"mean": [1, 2]},
        {"std": 0},
        {"std": float("nan")},
        {"short_side": [256]},
        {"short_side": 256},
    ],
    ids=str,
)
def test_damaged_preprocessing_is_refused(tmp_path, capsys, clip):
    model = nln.build("c2d_tiny", 5, width=4)
    path, video = tmp_path / "m.safetensors", write_video(tmp_path / "v.mp4", 8)
    nln.save(model, path, labels=LABELS, clip={"frames": 4})
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        meta = json.loads(file.metadata()["nonlocalnet"])
    meta["clip"] |= clip
    save_file(tensors, path, {"nonlocalnet": json.dumps(meta)})
    refused(["predict", str(video), "--model", str(path), "--views", "1x1"], capsys)


def test_a_model_file_of_ours_is_not_converted_again(files, tmp_path, capsys):
    """Its labels and preprocessing would be lost for those of a source."""
    out, labels = tmp_path / "m.safetensors", str(files / "labels.txt")
    assert main(["convert", str(files / "ours.safetensors"), str(out), "--labels", labels]) == 2
    assert "a model file of ours already" in capsys.readouterr().err
    assert not out.exists()


def test_class_names_may_end_in_blank_lines_and_must_be_text(files, tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*LABELS, "", ""]).encode())
    arguments = ["convert", str(files / "m.pyth"), str(tmp_path / "m.safetensors")]
    assert main([*arguments, "--labels", str(names)]) == 0
    assert nln.load(tmp_path / "m.safetensors").labels == LABELS
    capsys.readouterr()
    names.write_bytes("a\nb\nc\nd\n\xe9".encode("latin-1"))
    refused([*arguments, "--labels", str(names)], capsys)


def test_a_file_that_answers_otherwise_is_refused(files, tmp_path, capsys):
    model = nln.load(files / "ours.safetensors").model
    path = tmp_path / "m.safetensors"
    nln.save(model, path, labels=LABELS, clip={"frames": 4})
    content = path.read_bytes()
    name = b'"logits": ['
    at = content.index(name.replace(b'"', b'\\"')) + len(name) + 2
    assert content[at : at + 1] in b"-0123456789"
    digit = at + (content[at : at + 1] == b"-")
    path.write_bytes(content[:digit] + b"9" + content[digit + 1 :])
    refused(["verify", str(path)], capsys)
