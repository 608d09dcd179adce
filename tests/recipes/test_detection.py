"""Tables 5 and 6: figures, places, schedules; each row trains and evaluates (long)."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from detectron_file import write_detectron

from nonlocalnet.data.coco import read_coco
from nonlocalnet.data.coco_shapes import write_shapes
from nonlocalnet.engine.detect import detect, run_detector_test
from nonlocalnet.nn.insert import nonlocal_blocks, remove_nonlocal
from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.detection import DETECTION_TABLES, RECIPES, detection_recipe
from nonlocalnet.recipes.detection_run import run_detection
from nonlocalnet.weights.detector import first_weights

ROWS = [row.recipe.name for table in DETECTION_TABLES.values() for row in table.rows]
PAPER = {
    "mask_rcnn_r50": (38.0, 59.6, 41.0, 34.6, 56.4, 36.5),
    "nl1_mask_rcnn_r50": (39.0, 61.1, 41.9, 35.5, 58.0, 37.4),
    "mask_rcnn_r101": (39.5, 61.4, 42.9, 36.0, 58.1, 38.3),
    "nl1_mask_rcnn_r101": (40.8, 63.1, 44.5, 37.1, 59.9, 39.2),
    "mask_rcnn_x152": (44.1, 66.4, 48.4, 39.7, 63.2, 42.2),
    "nl1_mask_rcnn_x152": (45.0, 67.8, 48.9, 40.3, 64.4, 42.8),
    "keypoint_rcnn_r101": (65.1, 86.8, 70.4),
    "nl4_keypoint_rcnn_r101": (66.0, 87.1, 71.7),
    "nl5_keypoint_rcnn_r101": (66.5, 87.3, 72.8),
}


def test_the_tables_are_the_papers():
    rows = {row.recipe.name: row for table in DETECTION_TABLES.values() for row in table.rows}
    assert {name: tuple(row.published.values()) for name, row in rows.items()} == PAPER
    assert all(row.recipe.published == row.published for row in rows.values())


@pytest.mark.parametrize("name", ROWS)
def test_blocks_schedule_and_scales(name):
    recipe = detection_recipe(name)
    with torch.device("meta"):
        model = recipe.model.build()
    backbone = [n for n in nonlocal_blocks(model) if n.startswith("backbone")]
    head = [n for n in nonlocal_blocks(model) if n.startswith("roi_heads.keypoint_head")]
    assert len(backbone) == (name.startswith(("nl1", "nl5")))
    assert len(head) == 4 * name.startswith(("nl4", "nl5"))
    if backbone:
        place = int(backbone[0].split(".")[3])
        assert place == len(model.backbone.body.layer3) - 2
    plan = recipe.train
    x152 = "x152" in name
    assert (plan.batch, plan.lr) == ((8, 0.01) if x152 else (16, 0.02))
    assert (*plan.decay_at, plan.steps) == (
        (200_000, 240_000, 260_000) if x152 else (60_000, 80_000, 90_000)
    )
    jitter = x152 or "keypoint" in name
    assert model.transform.min_size == ((640, 672, 704, 736, 768, 800) if jitter else (800,))
    assert model.transform.max_size == 1333 and model.rpn.training
    # MSRA's R50 and R101 have their strides on the first 1x1, Caffe2's X152 on the 3x3.
    first = model.backbone.body.layer2[0]
    assert (first.conv1.stride, first.conv2.stride) == (
        ((1, 1), (2, 2)) if x152 else ((2, 2), (1, 1))
    )


def test_more_blocks_by_the_same_option():
    with torch.device("meta"):
        model = detection_recipe("nl4_mask_rcnn_r50").model.build()
    assert [name.split(".")[2:4] for name in nonlocal_blocks(model)] == [
        *(["layer2", "1"], ["layer2", "3"], ["layer3", "2"], ["layer3", "4"])
    ]


def test_no_block_is_wider_than_what_it_stands_in():
    """Four blocks of 128 in a head of 48 channels kept a keypoint head from learning at all."""
    for recipe in RECIPES.values():
        with torch.device("meta"):
            model = recipe.model.build()
        for name, block in nonlocal_blocks(model).items():
            assert block.inner_channels <= block.channels // 2, f"{recipe.name} {name}"


def test_keypoints_on_r50_have_the_three_systems_of_r101():
    for count, name in ((0, "keypoint"), (4, "nl4_keypoint"), (5, "nl5_keypoint")):
        with torch.device("meta"):
            models = [detection_recipe(f"{name}_rcnn_{r}").model.build() for r in ("r50", "r101")]
        assert [len(nonlocal_blocks(model)) for model in models] == [count, count]
        assert len(models[0].backbone.body.layer3) == 6


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes"), train=3, val=2)


def rehearse(recipe, shapes, out):
    """Full-size detector from a Detectron file of random weights: identity, two steps, a test."""
    task = recipe.model.task
    train, val = (read_coco(shapes, split, task) for split in ("train2017", "val2017"))
    model = replace(
        recipe.model,
        num_classes=val.num_classes,
        num_keypoints=5,
        min_size=(160,),
        more={**recipe.model.more, "box_score_thresh": 0.0},
    )
    plan = replace(recipe.train, validate_every=2, batch=1, lr=1e-3)
    recipe = replace(recipe, model=model, train=plan)
    torch.manual_seed(0)
    detector = model.build().eval()
    weights = ""
    if model.trunk != "tiny":
        weights = str(write_detectron(out.parent / "weights.pkl", detector))
        first_weights(detector, weights)
    image = torch.rand(3, 128, 160)
    before = detect(detector, image)
    blocks = len(nonlocal_blocks(detector))
    assert len(remove_nonlocal(detector)) == blocks
    without = detect(detector, image)
    assert len(before.scores) > 0 and np.array_equal(before.boxes, without.boxes)
    assert np.array_equal(before.scores, without.scores)

    machine = Machine(max_steps=2, workers=0)
    trained = run_detection(
        recipe,
        train,
        val,
        out,
        machine=machine,
        init=weights,
        progress=False,
        say=lambda text: None,
    )
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["train_loss"]) for row in rows if row["train_loss"]]
    assert len(losses) == 2 and np.isfinite(losses).all()
    results, lists = run_detector_test(trained, val, workers=0)
    short = "mask" if task == "masks" else "kp"
    figures = {f"box_AP@{160}", f"box_AP75@{160}", f"{short}_AP50@{160}", f"{short}_AP75@{160}"}
    assert figures <= results["metrics"].keys()
    assert results["protocol"]["evaluated"] == 2 and len(lists["bbox"]) > 0
    for block in nonlocal_blocks(trained).values():
        assert block.w_z.weight.any(), "two steps woke no block"


@pytest.mark.parametrize("name", ["nl1_tiny_mask_rcnn", "nl5_tiny_keypoint_rcnn"])
def test_a_small_recipe_trains_and_evaluates(name, shapes, tmp_path):
    rehearse(RECIPES[name], shapes, tmp_path / "run")


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in RECIPES if "tiny" not in n])
def test_every_recipe_trains_and_evaluates(name, shapes, tmp_path):
    rehearse(RECIPES[name], shapes, tmp_path / "run")


def test_without_first_weights_a_large_recipe_says_so(shapes, tmp_path):
    recipe = detection_recipe("mask_rcnn_r50")
    recipe = replace(recipe, model=replace(recipe.model, num_classes=6))
    splits = [read_coco(shapes, split) for split in ("train2017", "val2017")]
    with pytest.raises(ValueError, match="begins with ImageNet weights; give their file"):
        run_detection(recipe, *splits, tmp_path / "run", say=lambda text: None)
    with pytest.raises(ValueError, match="no detection recipe 'mask_rcnn_r5O'; nearest"):
        detection_recipe("mask_rcnn_r5O")
    wrong = replace(recipe, model=replace(recipe.model, trunk="tiny", num_classes=91))
    with pytest.raises(ValueError, match=r"has 91 classes, .* has 6"):
        run_detection(wrong, *splits, tmp_path / "other", say=lambda text: None)
