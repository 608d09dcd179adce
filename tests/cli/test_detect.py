"""detect generate, train, test, predict: the whole way on generated images, and wrong words."""

import json
import sys
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

import nonlocalnet as nln
from nonlocalnet.cli.detect import PARTS
from nonlocalnet.cli.main import main

REAL = Path(__file__).parents[3] / "shared" / "data"
SMALL = ["--train.steps", "2", "--train.warmup", "1", "--train.batch", "2", "--workers", "0"]
# Two steps at a recipe's own rate may leave a net that finds nothing.
SMALL += ["--train.lr", "1e-4"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "shapes"
    assert main(["detect", "generate", str(root), "--train", "3", "--val", "2"]) == 0
    return root


@pytest.fixture(scope="module")
def trained(shapes, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "kp"
    arguments = ["detect", "train", str(shapes), "--recipe", "nl5_tiny_keypoint_rcnn", "--json"]
    more = ["--model.more", '{"box_score_thresh": 0.0}']
    assert main([*arguments, *SMALL, *more, "--out", str(out)]) == 0
    return out


def test_train_test_and_predict(trained, shapes, tmp_path, capsys):
    assert main(["detect", "test", str(trained), "--data", str(shapes), "--workers", "0"]) == 0
    said = capsys.readouterr().out
    results = json.loads((trained / "results.json").read_text())
    assert set(results["metrics"]) >= {"box_AP@128", "kp_AP@128", "kp_AP50@128", "kp_AP75@128"}
    assert results["protocol"]["evaluated"] == 2 and "2 images; written" in said
    assert len(results["protocol"]["annotations_sha256"]) == 64
    entries = json.loads((trained / "keypoints.json").read_text())
    assert entries and len(entries[0]["keypoints"]) == 15
    image = str(shapes / "val2017" / "000000.png")
    for extra in ([], ["--at", "40,50"]):
        out = tmp_path / f"{len(extra)}.png"
        command = ["detect", "predict", image, "--model", str(trained), "--score", "0", "--json"]
        assert main([*command, *extra, "--out", str(out)]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert out.read_bytes().startswith(b"\x89PNG")
        assert set(answer["found"][0]["keypoints"]) >= {"head", "left_hand"}


@pytest.mark.skipif(not REAL.is_dir(), reason="the real COCO images are not at ../shared/data")
@pytest.mark.parametrize(
    ("folder", "recipe", "more", "figure"),
    [
        ("tinycoco", "nl1_tiny_mask_rcnn", ["--model.num_classes", "91"], "mask_AP@128"),
        ("pose_minicoco", "nl5_tiny_keypoint_rcnn", ["--model.num_keypoints", "17"], "kp_AP@128"),
    ],
)
def test_real_images_all_the_way(folder, recipe, more, figure, tmp_path, capsys):
    """COCO's own annotations and names: trained on, tested on, drawn."""
    data, out = str(REAL / folder), str(tmp_path / "run")
    more = [*more, "--model.more", '{"box_score_thresh": 0.0}', "--out", out]
    assert main(["detect", "train", data, "--recipe", recipe, *SMALL, *more]) == 0
    assert "annotation" in capsys.readouterr().out  # crowds and what else is left out, with ids
    assert main(["detect", "test", out, "--data", data, "--images", "3", "--workers", "0"]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["protocol"]["evaluated"] == 3 and figure in results["metrics"]
    assert results["labels"]["1"] == "person"
    image = next((REAL / folder / "images" / "val2017").iterdir())
    command = ["detect", "predict", str(image), "--model", out, "--score", "0", "--json"]
    assert main([*command, "--out", str(tmp_path / "found.png")]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["found"]
    if "kp" in figure:
        assert list(found[0]["keypoints"])[:2] == ["nose", "left_eye"]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_help_with_an_example(part, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["detect", part, "--help"])
    assert stop.value.code == 0
    assert f"Example: nonlocalnet detect {part}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tarin"], "detect takes one of train, test, predict, generate, got 'tarin'"),
        (["train", ".", "--recipe", "mask_rcnn_r5O"], "no detection recipe 'mask_rcnn_r5O'"),
        (["train", "x", "--recipe", "mask_rcnn_r50"], "instances_train2017.json: no such file"),
        (["test", "nowhere", "--data", "."], "nowhere: no such model file"),
        (["predict", "no.png", "--model", "m"], "no.png: no such image; check the path"),
        (["generate", "x", "--train", "0"], "a split needs 1 image or more, got 0 and 200"),
    ],
)
def test_wrong_words_are_one_sentence(arguments, sentence, capsys):
    assert main(["detect", *arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_verify_knows_detectors(trained, tmp_path, capsys):
    """As it was written; with one weight of the keypoint head changed, not."""
    file = trained / "best.safetensors"
    assert main(["verify", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(file), "difference": 0.0}
    with safe_open(file, framework="pt") as content:
        said = content.metadata()
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    tensors["roi_heads.keypoint_predictor.kps_score_lowres.bias"][0] += 1
    save_file(tensors, tmp_path / "changed.safetensors", said)
    assert main(["verify", str(tmp_path / "changed.safetensors")]) == 2
    assert "its outputs differ by" in capsys.readouterr().err
    for probe in ({"seed": 0, "values": [1.0]}, {"seed": None}):
        meta = {**json.loads(said["nonlocalnet_detector"]), "probe": probe}
        save_file(
            tensors, tmp_path / "probe.safetensors", {"nonlocalnet_detector": json.dumps(meta)}
        )
        assert main(["verify", str(tmp_path / "probe.safetensors")]) == 2
        assert "its probe is damaged" in capsys.readouterr().err
    for meta in ({**json.loads(said["nonlocalnet_detector"]), "format": 2}, ["format", 2]):
        file = tmp_path / "later.safetensors"
        save_file(tensors, file, {"nonlocalnet_detector": json.dumps(meta)})
        assert main(["verify", str(file)]) == 2
        assert "this version reads 1; update" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "IMAGE", "--model", "FILE"],
        ["explain", "IMAGE", "--model", "FILE"],
        ["test", "FILE", "--data", "."],
        ["convert", "FILE", "x.safetensors"],
        ["export", "FILE", "--onnx", "x.onnx"],
    ],
)
def test_commands_for_videos_say_what_a_detector_is(command, trained, shapes, capsys):
    names = {"FILE": trained / "best.safetensors", "IMAGE": shapes / "val2017" / "000000.png"}
    assert main([str(names.get(word, word)) for word in command]) == 2
    said = capsys.readouterr().err
    assert "best.safetensors: a detector; nonlocalnet detect test and" in said
    assert said.count("\n") == 1


def test_a_network_of_videos_is_no_detector(shapes, tmp_path, capsys):
    model = nln.build("nl1_c2d_tiny", 2, width=4)
    nln.save(model, tmp_path / "v.safetensors", labels=["a", "b"], clip={"frames": 4})
    image = str(shapes / "val2017" / "000000.png")
    assert main(["detect", "predict", image, "--model", str(tmp_path / "v.safetensors")]) == 2
    assert "v.safetensors: a network of videos; nonlocalnet detect" in capsys.readouterr().err


def test_a_missing_library_is_one_sentence(shapes, monkeypatch, capsys):
    """Every command: the sentence names what to install."""
    monkeypatch.setitem(sys.modules, "lightning", None)
    for name in [name for name in sys.modules if name.startswith("nonlocalnet.recipes.detection_")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("detection", "loop", "checkpoints"):
        monkeypatch.delitem(sys.modules, f"nonlocalnet.engine.{name}", raising=False)
    assert main(["detect", "train", str(shapes), "--recipe", "tiny_mask_rcnn"]) == 2
    said = capsys.readouterr().err
    assert "training needs lightning, which is not installed; run: pip install" in said


def test_a_picture_needs_an_image(trained, tmp_path, capsys):
    (tmp_path / "x.png").write_text("no image")
    assert main(["detect", "predict", str(tmp_path / "x.png"), "--model", str(trained)]) == 2
    assert "not an image that can be read" in capsys.readouterr().err
