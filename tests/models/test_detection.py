"""Detectors: torchvision's own but for the blocks, the same detections at the start, the costs."""

import pytest
import torch
from torchvision.models.detection import keypointrcnn_resnet50_fpn, maskrcnn_resnet50_fpn

from nonlocalnet.models.detection import build_detector, one_block
from nonlocalnet.models.detection_costs import detector_costs
from nonlocalnet.nn.insert import insert_nonlocal, nonlocal_blocks
from nonlocalnet.weights.detector import first_weights

ONE = {"r50": "layer3.4", "r101": "layer3.21", "x152": "layer3.34"}
HEAD = [f"roi_heads.keypoint_head.{i}.nonlocal_block" for i in (3, 7, 11, 15)]
ANY = {"box_score_thresh": 0.0, "min_size": (96,), "box_detections_per_img": 10}


def on_meta(*arguments, **options):
    with torch.device("meta"):
        return build_detector(*arguments, **options)


@pytest.mark.parametrize(
    ("task", "theirs", "parameters"),
    [
        ("masks", maskrcnn_resnet50_fpn, 44_401_393),
        ("keypoints", keypointrcnn_resnet50_fpn, 59_137_258),
    ],
)
def test_without_blocks_it_is_torchvisions(task, theirs, parameters):
    """Parameters are the figure that torchvision publishes; keys and shapes are its own."""
    classes = 91 if task == "masks" else 2
    ours = on_meta(task, "r50", classes)
    with torch.device("meta"):
        peer = theirs(weights=None, weights_backbone=None)
    shapes = {
        name: tensor.shape
        for name, tensor in peer.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == shapes
    assert sum(p.numel() for p in ours.parameters()) == parameters


def test_a_loaded_checkpoint_detects_the_same_after_insertion(tmp_path):
    """torchvision's file into ours: its detections; then, with blocks: the same bit for bit."""
    torch.manual_seed(0)
    peer = keypointrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        box_score_thresh=0.0,
        min_size=96,
        box_detections_per_img=10,
    ).eval()
    torch.save(peer.state_dict(), tmp_path / "peer.pth")
    image = torch.rand(3, 96, 128)
    options = {**ANY, "nonlocal_": one_block("r50"), "head_nonlocal": True}
    plain = build_detector("keypoints", "r50", 2, **ANY).eval()
    blocks = build_detector("keypoints", "r50", 2, **options).eval()
    assert "40 of blocks kept" in first_weights(blocks, tmp_path / "peer.pth")
    first_weights(plain, tmp_path / "peer.pth")
    with torch.no_grad():
        want, got, same = (net([image])[0] for net in (peer, plain, blocks))
    assert len(want["scores"]) == 10
    for name, value in want.items():
        torch.testing.assert_close(got[name], value, rtol=1e-3, atol=1e-2)
        assert torch.equal(same[name], got[name]), name
    # The blocks are there: with W_z awake they detect something else.
    for block in nonlocal_blocks(blocks).values():
        torch.nn.init.normal_(block.w_z.weight, std=0.05)
    with torch.no_grad():
        assert not torch.equal(blocks([image])[0]["keypoints"], got["keypoints"])


def test_blocks_can_be_inserted_into_a_detector_of_torchvision():
    """The public way, with a list of images as the example."""
    torch.manual_seed(0)
    peer = maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        box_score_thresh=0.0,
        min_size=64,
        box_detections_per_img=5,
    ).eval()
    image = [torch.rand(3, 64, 80)]
    with torch.no_grad():
        before = peer(image)[0]
        names = insert_nonlocal(peer, ["backbone.body.layer3.4"], (image,), norm=None)
        after = peer(image)[0]
    assert names == ["backbone.body.layer3.4.nonlocal_block"]
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("trunk", ONE)
def test_one_block_stands_before_the_last_of_res4_and_costs_below_5_percent(trunk):
    """At 800x1280 with 1000 proposals and 100 detections; by hand for R50 in the comments."""
    plain, one = on_meta("masks", trunk), on_meta("masks", trunk, nonlocal_=one_block(trunk))
    (name,) = nonlocal_blocks(one)
    assert name == f"backbone.body.{ONE[trunk]}.nonlocal_block"
    stage = one.backbone.body.layer3
    assert int(name.split(".")[3]) == len(stage) - 2
    costs, more = detector_costs(plain), detector_costs(one)
    added = more.multiply_adds - costs.multiply_adds
    cells = 50 * 80  # stride 16
    convs = 4 * 1024 * 512 * cells  # theta, phi, g, W_z: 8.4 G
    products = 2 * cells * (cells // 4) * 512  # theta phi^T and f g, keys pooled by 2: 4.1 G
    assert added == convs + products
    assert more.pairwise == products
    assert added / costs.multiply_adds < 0.05
    if trunk == "r50":
        assert costs.multiply_adds == pytest.approx(260e9, rel=0.01)


def test_the_keypoint_heads_blocks():
    plain = on_meta("keypoints", "r101", 2)
    model = on_meta("keypoints", "r101", 2, nonlocal_=one_block("r101"), head_nonlocal=True)
    assert list(nonlocal_blocks(model)) == ["backbone.body.layer3.21.nonlocal_block", *HEAD]
    head = model.roi_heads.keypoint_head
    assert [type(head[i]).__name__ for i in (2, 3)] == ["Conv2d", "ReLU"]
    for name, block in nonlocal_blocks(model).items():
        assert block.norm is None and block.subsample == 2, name
    added = detector_costs(model).task_head - detector_costs(plain).task_head
    # Four blocks on 14x14 cells of 512 channels, 49 keys, 100 people.
    products = 4 * 100 * 2 * 196 * 49 * 256
    assert added == 4 * 100 * 4 * 512 * 256 * 196 + products
    trunk = 2 * 4000 * 1000 * 512
    assert detector_costs(model).pairwise == trunk + products


def test_blocks_start_small_as_the_released_code_draws_them():
    """Drawn as He et al. they saturate, and keypoints get worse (docs/detection.md)."""
    model = build_detector(
        "keypoints", "tiny", 2, nonlocal_=one_block("tiny"), head_nonlocal=True, num_keypoints=5
    )
    blocks = nonlocal_blocks(model)
    assert len(blocks) == 5
    for name, block in blocks.items():
        for conv in (block.theta, block.phi, block.g):
            assert conv.weight.std().item() == pytest.approx(0.01, rel=0.1), name
            assert not conv.bias.any()
        assert not block.w_z.weight.any()


def test_the_first_stages_are_frozen():
    model = on_meta("masks", "r50")
    frozen = {n.split(".")[2] for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "layer1"}


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (("masks", "r5O"), {}, "no trunk 'r5O'; choose one of r50, r101, x152, tiny"),
        (("boxes",), {}, "task must be masks or keypoints, got 'boxes'"),
        (("masks", "tiny"), {"head_nonlocal": True}, "task masks has none"),
        (("masks", "tiny"), {"nonlocal_": {"res4": (2,)}}, r"no residual blocks \[2\] in 'res4'"),
    ],
)
def test_what_cannot_be_is_a_sentence(arguments, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_detector(*arguments, **options)
