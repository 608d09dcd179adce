"""Training of detectors: killed and resumed to the bit, shared out over processes, guarded."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nonlocalnet.data.coco import read_coco
from nonlocalnet.data.coco_shapes import write_shapes
from nonlocalnet.engine.detect import detect
from nonlocalnet.engine.detect_look import look_in_image
from nonlocalnet.models.detection import build_detector
from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.detection import detection_recipe
from nonlocalnet.recipes.detection_run import run_detection

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes"), train=5, val=2)


def short(name, **plan):
    recipe = detection_recipe(name)
    plan = {"steps": 4, "batch": 2, "warmup": 1, "validate_every": 4, "checkpoint_every": 1, **plan}
    return replace(recipe, train=replace(recipe.train, **plan))


def train(recipe, shapes, out, **machine):
    splits = (read_coco(shapes, split, recipe.model.task) for split in ("train2017", "val2017"))
    machine = Machine(workers=0, **machine)
    return run_detection(recipe, *splits, out, machine=machine, progress=False)


def checkpoint(run):
    return torch.load(run / "last.ckpt", weights_only=True)


def rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_that_stopped_goes_on_to_the_same_bits(shapes, tmp_path):
    """Mirroring, regions, learning rate, momentum: all as if nothing had happened."""
    recipe = short("nl5_tiny_keypoint_rcnn", validate_every=2)
    train(recipe, shapes, tmp_path / "whole")
    train(recipe, shapes, tmp_path / "parts", max_steps=3)
    assert checkpoint(tmp_path / "parts")["global_step"] == 3
    train(recipe, shapes, tmp_path / "parts")
    states = [checkpoint(tmp_path / name)["state_dict"] for name in ("whole", "parts")]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    whole, parts = (rows(tmp_path / name) for name in ("whole", "parts"))
    for one, other in zip(whole, parts, strict=True):
        assert {**one, "images_per_second": ""} == {**other, "images_per_second": ""}
    assert whole[-1]["val_kp_AP"] != ""
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    assert names >= {"config.yaml", "metrics.csv", "last.ckpt", "best.safetensors"}


def test_a_step_that_is_not_finite_names_its_images(shapes, tmp_path):
    recipe = short("tiny_mask_rcnn", lr=1e20, clip_norm=None, optimizer="sgd", batch=4)
    with pytest.raises(ValueError, match=r"at step \d; its batch came from .*\.png, .*\.png") as e:
        train(recipe, shapes, tmp_path)
    kept = torch.load(tmp_path / "nonfinite.pt", weights_only=True)
    assert f"at step {kept['step']}" in str(e.value)
    assert len(kept["images"]) == len(kept["targets"]) == len(kept["files"]) == 4


@pytest.mark.long
def test_two_processes_are_one_that_accumulates(shapes, tmp_path):
    """Under torchrun with gloo; the same images and regions, shared out otherwise; tests too."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    script = [str(HERE / "detect_ddp_run.py"), str(shapes)]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for command in (
        [sys.executable, *launch, *script, str(tmp_path / "two"), "1"],
        [sys.executable, *script, str(tmp_path / "one"), "2"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        for name in a.keys() - {"images_per_second"}:
            assert float(a[name] or 0) == pytest.approx(float(b[name] or 0), rel=1e-3, abs=1e-5), (
                name
            )
    one, two = (
        json.loads((tmp_path / name / "tested.json").read_text()) for name in ("one", "two")
    )
    assert one["protocol"] == two["protocol"] and one["protocol"]["evaluated"] == 2
    for kind in ("bbox", "segm"):
        scores = [run["scores"][kind] for run in (one, two)]
        assert len(scores[0]) == len(scores[1]) > 20
        np.testing.assert_allclose(*scores, rtol=1e-3)
    for name, value in one["metrics"].items():
        assert (two["metrics"][name] or 0) == pytest.approx(value or 0, rel=1e-3, abs=1e-5), name


def test_a_look_ends_where_the_weights_are_largest():
    """The block's own row, and its cells in px of the image before it was resized."""
    torch.manual_seed(0)
    model = build_detector(
        "masks", "tiny", 4, nonlocal_={"res4": (0,)}, min_size=(128,), max_size=256
    )
    image = torch.full((3, 64, 96), 0.5)
    (block,) = nonlocal_blocks(model).values()
    seen = []
    handle = block.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    look = look_in_image(model, image, (90.0, 10.0), top=5)
    handle.remove()
    # By hand: the image is doubled to 128 x 192, cells of 16 px: x 90 -> px 180.5 -> cell 11.
    cell = torch.tensor([[round((10.5 * 2 - 0.5) / 16), 11]])
    row = block.weights(seen[0], cell)[0, 0]
    best = row.flatten().sort(descending=True).values[:5]
    np.testing.assert_allclose(look.weights, best.detach().numpy(), rtol=1e-5)
    assert look.query == (0.0, (cell[0, 0] * 16 + 0.5) / 2 - 0.5, (11 * 16 + 0.5) / 2 - 0.5)
    assert (look.keys[:, 1:] <= np.array([63, 95])).all() and (look.keys[:, 1:] >= 0).all()
    with pytest.raises(ValueError, match=r"x,y = 96,10 lies outside the image of 96x64 px"):
        look_in_image(model, image, (96.0, 10.0))
    with pytest.raises(ValueError, match=r"no non-local block after 'layer2.0'; there are: layer3"):
        look_in_image(model, image, (9.0, 10.0), block="layer2.0")


def test_detecting_leaves_the_model_as_it_was():
    torch.manual_seed(0)
    model = build_detector("masks", "tiny", 4, min_size=(64,), box_score_thresh=0.0).train()
    image = torch.rand(3, 64, 64)
    one, two = detect(model, image), detect(model, image)
    assert model.training and model.roi_heads.training
    assert np.array_equal(one.boxes, two.boxes) and len(one.scores) > 0
    assert one.masks.shape == (len(one.scores), 64, 64) and one.masks.dtype == bool
    assert len(one.above(float(one.scores[0])).scores) >= 1
