"""Every network's cost and keys as they are in golden.json: a change is a visible line there.

Per preset and network: parameters, conv and fc weights, multiply-adds and the N x M products among
them for 32 x 224 x 224, tensors of the state dict, and a hash of their names and shapes. After a
wanted change: python tests/models/test_golden.py > tests/models/golden.json
"""

import hashlib
import json
from pathlib import Path

import pytest
import torch
import torchvision

import nonlocalnet as nln
from nonlocalnet.models.costs import count

FILE = Path(__file__).with_name("golden.json")
NAMES = nln.list_models()
PRESETS = ("paper", "official")


def measure(name, preset):
    with torch.device("meta"):
        model = nln.build(name, preset=preset)
    costs = count(model)
    state = model.state_dict()
    text = "\n".join(f"{key} {tuple(tensor.shape)}" for key, tensor in state.items())
    numbers = costs.parameters, costs.weights, costs.multiply_adds, costs.pairwise, len(state)
    return [*numbers, hashlib.sha256(text.encode()).hexdigest()[:16]]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", NAMES)
def test_costs_and_keys_are_golden(name, preset):
    golden = json.loads(FILE.read_text(encoding="utf-8"))[preset]
    assert measure(name, preset) == golden[name]


@pytest.mark.parametrize(
    ("name", "giga"),
    [
        ("c2d_r50", 20.2),
        ("i3d_r50", 32.8),
        ("nl1_c2d_r50", 21.4),
        ("nl5_c2d_r50", 28.4),
        ("nl5_i3d_r50", 41.0),
        ("nl10_c2d_r50", 36.5),
        ("c2d_r101", 35.1),
    ],
)
def test_the_golden_multiply_adds_agree_with_another_count(name, giga):
    """Worked out by hand from the released code's layers, N x M products included."""
    golden = json.loads(FILE.read_text(encoding="utf-8"))["official"][name]
    assert round(golden[2] / 1e9, 1) == giga


@pytest.mark.parametrize("depth", [50, 101])
def test_keys_of_the_trunk_are_those_of_torchvision(depth):
    """In words: torchvision's names, with res2 .. res5 for layer1 .. layer4; blocks beside them."""
    with torch.device("meta"):
        images = getattr(torchvision.models, f"resnet{depth}")()
        videos = nln.build(f"nl5_i3d_r{depth}")
    want = list(images.state_dict())
    for stage in range(1, 5):
        want = [key.replace(f"layer{stage}.", f"res{stage + 1}.") for key in want]
    got = videos.state_dict()
    assert {key for key in got if "nonlocal_block" not in key} == set(want)
    blocks = {key.split(".nonlocal_block.")[0] for key in got if "nonlocal_block" in key}
    inside = (1, 3, 5) if depth == 50 else (6, 13, 20)
    assert blocks == {"res3.1", "res3.3", *(f"res4.{index}" for index in inside)}


if __name__ == "__main__":
    lines = [
        f' "{preset}": {{\n'
        + ",\n".join(f'  "{name}": {json.dumps(measure(name, preset))}' for name in NAMES)
        + "\n }"
        for preset in PRESETS
    ]
    print("{\n" + ",\n".join(lines) + "\n}")
