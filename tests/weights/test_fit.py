"""All or nothing: a renamed, missing, extra or misshapen tensor is an error that names it."""

import ast
from functools import cache

import foreign
import numpy as np
import pytest
import torch

import nonlocalnet as nln
from nonlocalnet.weights.describe import describe
from nonlocalnet.weights.fit import TABLES, fit

WIDTH = foreign.WIDTH
SOURCES = list(foreign.SOURCES)
small = foreign.small


@cache
def wanted(arguments):
    with torch.device("meta"):
        return nln.build(**ast.literal_eval(arguments)).state_dict()


def attempt(weights, source):
    """As from_checkpoint does it, without the file."""
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in weights.items()}
    arguments, _ = describe(tensors, TABLES[source], "")
    return fit(wanted(repr(arguments)), tensors, TABLES[source])


@pytest.mark.parametrize("source", SOURCES)
def test_a_whole_file_fits_and_every_tensor_is_accounted_for(source):
    weights = small(source)
    state, report = attempt(weights, source)
    assert set(report.loaded.values()) | set(report.ignored) == set(weights)
    assert not report.kept
    counted = {key for key in state if key.endswith("num_batches_tracked")}
    assert set(state) == set(report.loaded) | set(report.filled) | counted


DAMAGE = {
    "missing": lambda weights, key: weights.pop(key),
    "extra": lambda weights, key: weights.update({f"{key}.more": weights[key]}),
    "misshapen": lambda weights, key: weights.update({key: weights[key][:-1]}),
    "turned": lambda weights, key: weights.update({key: weights[key][None]}),
    "not finite": lambda weights, key: weights.update({key: weights[key] * np.nan}),
    "whole numbers": lambda weights, key: weights.update({key: weights[key].astype(int)}),
}


def once(source):
    """The names that a file holds once; gluon-cv's copies are tested below."""
    whole = small(source)
    twice = source == "gluoncv"
    return whole, [k for k in whole if not (twice and (k.startswith(("fc", "head")) or ".W" in k))]


def assert_named(whole, key, damage, source):
    weights = dict(whole)
    if damage == "renamed":
        weights[f"{key}x"] = weights.pop(key)
    else:
        DAMAGE[damage](weights, key)
    with pytest.raises(ValueError, match=r"nothing was loaded|the file is damaged") as caught:
        attempt(weights, source)
    said = str(caught.value)
    assert key in said
    assert "\n" not in said
    assert said.count(",") < 16, said  # names the one, not all that follow from it


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("damage", ["renamed", *DAMAGE])
def test_one_bad_tensor_is_named(source, damage):
    """The stem's kernel and statistics, a block's g and norm, a tensor in the middle, the last."""
    whole, keys = once(source)
    inside = [key for key in keys if "nonlocal" in key or "non_local" in key][4:10:5]
    for key in [keys[0], keys[3], *inside, keys[len(keys) // 2], keys[-1]]:
        assert_named(whole, key, damage, source)


@pytest.mark.long
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("damage", ["renamed", "missing", "misshapen"])
def test_every_bad_tensor_is_named(source, damage):
    whole, keys = once(source)
    for key in keys:
        assert_named(whole, key, damage, source)


def test_two_copies_must_agree():
    weights = small("gluoncv")
    weights["head.1.weight"] = weights["head.1.weight"] + 1
    with pytest.raises(ValueError, match=r"unequal copies: fc\.weight and head\.1\.weight"):
        attempt(weights, "gluoncv")


def test_what_may_differ_is_said_and_nothing_else_may():
    model = nln.build("nl5_i3d_r50", 5, "slowfast", width=WIDTH)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    weights = small("slowfast")
    block = [key for key in weights if "nonlocal" in key]
    for key in block:
        del weights[key]
    with pytest.raises(ValueError, match=r"missing: res3\.1\.nonlocal_block\.theta\.weight"):
        nln.load_pretrained(model, weights)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    report = nln.load_pretrained(model, weights, allow=("*nonlocal*",))
    left = [key for key in before if "nonlocal_block" in key and "num_batches" not in key]
    assert set(report.kept) == set(left)
    after = model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in left)
    assert torch.equal(after["fc.bias"], torch.from_numpy(weights["head.projection.bias"]))


def test_allow_takes_their_names_too():
    model = nln.build("nl5_i3d_r50", 5, "slowfast", width=WIDTH)
    weights = small("slowfast")
    weights["s6.extra"] = weights.pop("head.projection.bias")
    weights["s1.pathway0_stem.bn.bias"] = np.zeros(3, np.float32)
    allow = ("s6.*", "head.projection.bias", "s1.pathway0_stem.bn.bias")
    report = nln.load_pretrained(model, weights, "slowfast", allow)
    assert set(report.kept) == {"fc.bias", "bn1.bias"}
    assert set(report.ignored) == {"s6.extra", "s1.pathway0_stem.bn.bias"}


def test_a_head_for_other_classes_stays_and_is_said():
    model = nln.build("nl5_i3d_r50", 3, "slowfast", width=WIDTH)
    head = model.fc.weight.detach().clone()
    report = nln.load_pretrained(model, small("slowfast"))
    assert torch.equal(model.fc.weight, head)
    assert "kept fc.weight, fc.bias: 5 classes in the file, 3 in the network" in str(report)
    weights = small("slowfast")
    weights["head.projection.bias"] = weights["head.projection.bias"][:-1]
    with pytest.raises(ValueError, match=r"head\.projection\.bias \(4,\)"):
        nln.load_pretrained(model, weights)


def test_another_layout_is_said():
    model = nln.build("nl5_i3d_r50", 5, "paper", width=WIDTH)
    with pytest.raises(ValueError, match=r"branch2\.a\.weight \(4, 16, 3, 1, 1\)"):
        nln.load_pretrained(model, small("slowfast"))  # inflated at other places
    model = nln.build("nl5_i3d_r50", 5, "official", width=WIDTH)
    report = nln.load_pretrained(model, small("slowfast"))
    assert "layout 'official', slowfast trains 'slowfast'" in report.notes[0]


def test_the_layout_of_a_file_of_ours_is_what_it_says(tmp_path):
    file = tmp_path / "m.safetensors"
    theirs = nln.build("nl1_c2d_r50", 2, "official", width=WIDTH)
    nln.save(theirs, file, labels=["a", "b"], clip={"frames": 4})
    model = nln.build("nl1_c2d_r50", 2, "paper", width=WIDTH)
    (note,) = nln.load_pretrained(model, file).notes
    assert "the network has the layout 'paper', nonlocalnet says 'official'" in note
    assert nln.load_pretrained(theirs, file).notes == []
    torch.save(theirs.state_dict(), tmp_path / "bare.pth")
    notes = nln.from_checkpoint(tmp_path / "bare.pth")[1].notes
    assert "layout 'paper' assumed; preset=... says otherwise" in notes
    assert "extent, scale and subsampling of the blocks assumed to be the layout's" in notes


@pytest.mark.parametrize(
    ("source", "layout"),
    [("caffe2", "official_8x8"), ("slowfast", "slowfast_nopool"), ("mmaction2", "official_8x8")],
)
def test_every_layout_of_a_source_is_its_own(source, layout):
    model = nln.build("c2d_r50", 5, layout, width=WIDTH)
    assert nln.load_pretrained(model, small(source, name="c2d_r50"), source).notes == []


def test_affine_layers_are_batch_norms_with_fixed_statistics():
    """Long-clip networks of the released code: no statistics, and blocks without a norm."""
    weights = small("caffe2", norm=None)
    affine = {k: v for k, v in weights.items() if not k.endswith(("_rm", "_riv"))}
    affine |= {"lr": np.float32(0.01), "model_iter": np.int64(7), "conv1_w_momentum": np.ones(2)}
    state, report = attempt(affine, "caffe2")
    assert len(report.filled) == 2 * sum(key.endswith("_bn_s") for key in weights)
    assert set(report.ignored) == {"lr", "model_iter", "conv1_w_momentum"}
    arguments, _ = describe({k: torch.tensor(v) for k, v in affine.items()}, TABLES["caffe2"], "")
    assert arguments["norm"] is None
    model = nln.build(**arguments).eval()
    model.load_state_dict(state)
    x = torch.randn(2, WIDTH, 2, 3, 3)
    scale, shift = (
        torch.from_numpy(affine[f"res_conv1_bn_{p}"])[:, None, None, None] for p in "sb"
    )
    torch.testing.assert_close(model.bn1(x), x * scale + shift, rtol=1e-6, atol=1e-6)
    groups = [block.group_frames for block in nln.nonlocal_blocks(model).values()]
    assert groups == [4, 4, None, None, None]  # res3 within 4 frames, as released
    del affine["res2_0_branch2a_bn_b"]
    with pytest.raises(ValueError, match="res2_0_branch2a_bn_b"):
        attempt(affine, "caffe2")
    weights.pop("res2_0_branch2a_bn_rm")  # one statistic lost is no affine layer
    with pytest.raises(ValueError, match="res2_0_branch2a_bn_rm"):
        attempt(weights, "caffe2")


def test_unknown_sources_and_names():
    model = nln.build("c2d_tiny", 3)
    with pytest.raises(ValueError, match=r"no source 'keras'; choose one of auto, nonlocalnet"):
        nln.load_pretrained(model, {"a": torch.zeros(1)}, "keras")
    with pytest.raises(ValueError, match=r"the names \(a\) are those of no known source"):
        nln.load_pretrained(model, {"a": torch.zeros(1)})


def test_whole_numbers_and_what_is_no_tensor_are_no_weights():
    model = nln.build("c2d_tiny", 5)
    for value in ("text", None):
        with pytest.raises(ValueError, match=r"fc.bias is a \w+, not a tensor or an array"):
            nln.load_pretrained(model, {**model.state_dict(), "fc.bias": value})
    state = {k: torch.zeros(v.shape, dtype=torch.int32) for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"conv1.weight \(.*\) of whole numbers, where \("):
        nln.load_pretrained(model, state)
