"""First weights of detectors: Detectron's pickles, torchvision's files, our own model file."""

import pickle

import pytest
import torch
from detectron_file import detectron_blobs, write_detectron
from torch.nn import functional as F

from nonlocalnet.models.detection import TRUNKS, Trunk, build_detector, one_block
from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.weights.detector import first_weights, read_detector, save_detector
from nonlocalnet.weights.detectron import DETECTRON, PIXELS, TORCHVISION, load_trunk


@pytest.fixture
def small(monkeypatch):
    """A pre-trained trunk of the usual kind, but shallow."""
    monkeypatch.setitem(TRUNKS, "small", Trunk(blocks=(1, 2, 2, 1)))
    return {"nonlocal_": {"res4": (0,)}, "stride_in_1x1": True, **PIXELS["detectron"]}


def by_hand(blobs, image):  # (3, H, W) RGB in 0 .. 1 -> res2 to res5
    """Detectron's network, straight from its blobs: BGR minus means, affine layers, 1x1 strides."""
    blobs = {name: torch.from_numpy(value) for name, value in blobs.items()}
    means = torch.tensor([102.9801, 115.9465, 122.7717])
    x = (255 * image.flip(0) - means[:, None, None])[None]

    def layer(x, name, norm, **options):
        y = F.conv2d(x, blobs[f"{name}_w"], **options)
        scale, shift = blobs[f"{norm}_s"], blobs[f"{norm}_b"]
        return y * scale[:, None, None] + shift[:, None, None]

    x = layer(x, "conv1", "res_conv1_bn", stride=2, padding=3).relu()
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    outputs = []
    for stage, blocks in ((2, 1), (3, 2), (4, 2), (5, 1)):
        for block in range(blocks):
            name, stride = f"res{stage}_{block}_branch", 2 if stage > 2 and block == 0 else 1
            short = layer(x, f"{name}1", f"{name}1_bn", stride=stride) if block == 0 else x
            y = layer(x, f"{name}2a", f"{name}2a_bn", stride=stride).relu()
            y = layer(y, f"{name}2b", f"{name}2b_bn", padding=1).relu()
            x = (layer(y, f"{name}2c", f"{name}2c_bn") + short).relu()
        outputs.append(x)
    return outputs


def test_a_detectron_pickle_gives_detectrons_features(small, tmp_path):
    model = build_detector("masks", "small", 6, **small).eval()
    report = load_trunk(model, write_detectron(tmp_path / "R-50.pkl", model))
    assert len(report.kept) == 8 and all("nonlocal_block" in name for name in report.kept)
    assert "conv1_b" in report.ignored and "fc1000_w" in report.ignored
    image = torch.rand(3, 64, 96)
    with torch.no_grad():
        features = model.backbone.body(model.transform.normalize(image)[None])
    want = by_hand(detectron_blobs(model), image)
    for got, right in zip(features.values(), want, strict=True):
        torch.testing.assert_close(got, right, rtol=1e-3, atol=1e-3 * float(right.abs().max()))


@pytest.mark.parametrize("trunk", ["r50", "r101", "x152"])
@pytest.mark.parametrize("table", [DETECTRON, TORCHVISION], ids=lambda table: table.name)
def test_every_tensor_of_every_trunk_has_its_name(trunk, table):
    with torch.device("meta"):
        model = build_detector("masks", trunk, nonlocal_=one_block(trunk))
    for ours in model.backbone.body.state_dict():
        if "nonlocal_block" in ours:
            continue
        theirs = table.theirs(ours)
        assert theirs and all(table.ours(name) == ours for name in theirs), ours
    if table is DETECTRON:
        assert table.theirs("layer3.4.conv2.weight") == ["res4_4_branch2b_w"]
        assert table.theirs("bn1.bias") == ["res_conv1_bn_b"]
    assert trunk != "x152" or model.backbone.body.layer1[0].conv2.weight.shape == (256, 8, 3, 3)


@pytest.mark.parametrize("kind", ["torchvision", "detectron"])
def test_the_pixels_must_be_those_of_the_weights(small, tmp_path, kind):
    other = "detectron" if kind == "torchvision" else "torchvision"
    model = build_detector("masks", "small", 6, **{**small, **PIXELS[other]})
    path = tmp_path / "weights"
    if kind == "detectron":
        write_detectron(path, model)
    else:
        torch.save(model.backbone.body.state_dict(), path)
    with pytest.raises(ValueError, match=f"weights of {kind}, but .*; build it with imagenet"):
        load_trunk(model, path)


def test_torchvision_weights_and_what_is_missing(small, tmp_path):
    options = {**small, **PIXELS["torchvision"]}
    torch.manual_seed(1)
    source = build_detector("masks", "small", 6, **{**options, "nonlocal_": {}})
    state = {**source.backbone.body.state_dict(), "fc.weight": torch.ones(2, 2)}
    torch.save({**state, "bn1.num_batches_tracked": torch.tensor(3)}, tmp_path / "r.pth")
    model = build_detector("masks", "small", 6, **options)
    load_trunk(model, tmp_path / "r.pth")
    ours = model.backbone.body.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in state.items() if name in ours)
    del state["layer2.1.conv2.weight"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(ValueError, match=r"missing: layer2.1.conv2.weight"):
        load_trunk(model, tmp_path / "less.pth")


def test_a_pickle_that_calls_something_is_refused(small, tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("called",))

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"blobs": {"conv1_w": Evil()}}, protocol=2))
    model = build_detector("masks", "small", 6, **small)
    with pytest.raises(ValueError, match=r"refused, because it asks for"):
        first_weights(model, tmp_path / "evil.pkl")


def test_a_model_file_is_read_back_bit_for_bit(tmp_path):
    torch.manual_seed(0)
    blocks = {"nonlocal_": {"res4": (0,)}, "head_nonlocal": True, "min_size": (64,)}
    model = build_detector(
        "keypoints", "tiny", 2, num_keypoints=5, **blocks, box_score_thresh=0.0
    ).eval()
    for block in nonlocal_blocks(model).values():
        torch.nn.init.normal_(block.w_z.weight, std=0.1)
    save_detector(model, tmp_path / "d.safetensors", {1: "person"}, list("abcde"), [(0, 1)])
    file = read_detector(tmp_path / "d.safetensors")
    assert file.labels == {1: "person"} and file.skeleton == ((0, 1),)
    image = torch.rand(3, 64, 64)
    with torch.no_grad():
        want, got = model([image])[0], file.model([image])[0]
    assert len(want["scores"]) and all(torch.equal(got[name], want[name]) for name in want)
    wrong = build_detector("keypoints", "tiny", 2, num_keypoints=5, **PIXELS["detectron"])
    with pytest.raises(ValueError, match=r"trained with mean \[0.485, .* build it with the other"):
        first_weights(wrong, tmp_path / "d.safetensors")
    plain = build_detector("keypoints", "tiny", 2, num_keypoints=5)
    with pytest.raises(ValueError, match=r"tensors are unknown, first .*nonlocal_block"):
        first_weights(plain, tmp_path / "d.safetensors")
    with pytest.raises(ValueError, match="no detector of ours"):
        from safetensors.torch import save_file

        save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
        read_detector(tmp_path / "other.safetensors")


def test_a_file_with_other_blocks_changes_nothing(tmp_path):
    """A block stays as it is where the file holds none of it, not where it holds another kind."""
    options = {"nonlocal_": {"res4": (0,)}, "block": {"norm": "batch"}}
    gaussian = {**options, "block": {"norm": "batch", "kind": "gaussian"}}
    for name, made in (("same", options), ("other", gaussian)):
        torch.manual_seed(0)
        source = build_detector("masks", "tiny", 3, **made)
        save_detector(source, tmp_path / name, {1: "a", 2: "b"})
    model = build_detector("masks", "tiny", 3, **options)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"4 tensors are missing, first .*\.theta\.weight"):
        first_weights(model, tmp_path / "other")
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    assert "kept" not in first_weights(model, tmp_path / "same")
