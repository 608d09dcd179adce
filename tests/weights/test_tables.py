"""The rule tables name what the sources name: their own lists of keys, and facts written down."""

import foreign
import pytest
import torch

import nonlocalnet as nln
from nonlocalnet.weights.convert import kinetics_labels
from nonlocalnet.weights.fit import TABLES

FILES = {
    "caffe2_i3d_baseline_32x2": ("i3d_r50", "official"),
    "mmaction2_i3d_r50_nl_embedded_gaussian": ("nl5_i3d_r50", "mmaction2"),
    "pytorchvideo_i3d_r50": ("i3d_r50", "pytorchvideo"),
    "slowfast_i3d_nln_8x8_r50": ("nl5_i3d_r50", "slowfast"),
}


@pytest.mark.parametrize("name", FILES)
def test_names_and_shapes_of_real_networks_in_both_directions(name):
    table = TABLES[name.partition("_")[0]]
    keys = foreign.facts(name)["keys"]
    network, preset = FILES[name]
    with torch.device("meta"):
        ours = nln.build(network, preset=preset).state_dict()
    counters = {key for key in ours if key.endswith("num_batches_tracked")}
    filled = {key for key in ours if name.startswith("mmaction2") and key.endswith("w_z.bias")}
    want = {table.ours(key): shape for key, shape in keys.items()}
    assert want == {k: list(v.shape) for k, v in ours.items() if k not in counters | filled}
    assert {table.theirs(key)[0] for key in want if key} == set(keys)


@pytest.mark.parametrize(
    ("source", "theirs", "ours"),
    [
        ("caffe2", "nonlocal_conv4_20_bn_riv", "res4.20.nonlocal_block.norm.running_var"),
        ("caffe2", "nonlocal_conv3_1_out_w", "res3.1.nonlocal_block.w_z.weight"),
        ("gluoncv", "first_stage.0.weight", "conv1.weight"),
        ("gluoncv", "first_stage.1.running_var", "bn1.running_var"),
        ("gluoncv", "res_layers.0.0.conv1.weight", "res2.0.conv1.weight"),
        ("gluoncv", "res_layers.0.0.bn1.weight", "res2.0.bn1.weight"),
        ("gluoncv", "res_layers.0.0.downsample.0.weight", "res2.0.downsample.0.weight"),
        ("gluoncv", "res_layers.0.0.downsample.1.bias", "res2.0.downsample.1.bias"),
        (
            "gluoncv",
            "res_layers.1.1.nonlocal_block.theta.weight",
            "res3.1.nonlocal_block.theta.weight",
        ),
        ("gluoncv", "res_layers.1.1.nonlocal_block.W.weight", "res3.1.nonlocal_block.w_z.weight"),
        (
            "gluoncv",
            "res_layers.1.1.nonlocal_block.W_bn.0.weight",
            "res3.1.nonlocal_block.w_z.weight",
        ),
        (
            "gluoncv",
            "res_layers.2.20.nonlocal_block.bn.weight",
            "res4.20.nonlocal_block.norm.weight",
        ),
        ("gluoncv", "fc.weight", "fc.weight"),
        ("gluoncv", "head.1.weight", "fc.weight"),
        ("torchvision", "layer3.22.conv2.weight", "res4.22.conv2.weight"),
        ("timm", "layer1.0.downsample.1.running_mean", "res2.0.downsample.1.running_mean"),
        ("slowfast", "s4.pathway1_res0.branch1.weight", None),
        ("mmaction2", "backbone.layer5.0.conv1.conv.weight", None),
        ("caffe2", "conv1_w_momentum", None),
    ],
)
def test_single_names(source, theirs, ours):
    assert TABLES[source].ours(theirs) == ours


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("g.0.weight", "g.weight"),
        ("g.bias", "g.bias"),
        ("phi.0.weight", "phi.weight"),
        ("theta.weight", "theta.weight"),
        ("W.0.weight", "w_z.weight"),
        ("W.bias", "w_z.bias"),
        ("W.1.running_var", "norm.running_var"),
        ("concat_project.0.weight", "w_f"),
    ],
)
def test_names_of_alexhex7(theirs, ours):
    assert TABLES["alexhex7"].ours(theirs, bare=True) == ours


def test_the_labels_are_those_of_kinetics_in_everyones_order():
    """A few places of the released classids.json, and torchvision's list of its video weights."""
    labels = kinetics_labels()
    assert len(set(labels)) == 400
    assert labels == sorted(labels)
    places = {"abseiling": 0, "tapping pen": 351, "massaging person's head": 196, "zumba": 399}
    places |= {"passing American football (in game)": 208, "skiing crosscountry": 309}
    assert {label: labels.index(label) for label in places} == places
    video = pytest.importorskip("torchvision.models.video")
    assert labels == video.R3D_18_Weights.KINETICS400_V1.meta["categories"]
