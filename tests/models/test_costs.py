"""Counting by operations that ran equals counting by layers and by the closed formula."""

import math

import pytest
import torch
from torch import nn

import nonlocalnet as nln
from nonlocalnet.models.costs import count, multiply_adds
from nonlocalnet.ops.pairwise import KINDS


def by_layers(model, clip):
    """Output cells times weights per cell of each layer, and the formula of each block."""
    total = pairs = 0

    def look(module, inputs, output):
        nonlocal total, pairs
        if isinstance(module, nn.Linear):
            total += module.weight.numel()
        elif isinstance(module, nn.Conv3d):
            total += output[0, 0].numel() * module.weight.numel()
        else:
            cells = inputs[0].shape[2:]
            n, m = math.prod(cells), cells[0] * math.prod(size // 2 for size in cells[1:])
            wide, inner = module.channels, module.inner_channels
            embedded = m if module.subsample_input else n
            total += wide * inner * (2 * n + 2 * embedded)
            pairs += 2 * n * m * inner

    for module in model.modules():
        inside = isinstance(module, nn.Conv3d | nn.Linear | nln.NonLocalBlock)
        if inside:
            module.register_forward_hook(look)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, *clip))
    return total + pairs, pairs


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize("stride_in_1x1", [True, False])
@pytest.mark.parametrize("name", ["nl5_c2d_r50", "nl10_i3d_r50", "nl1_i3d333_tiny"])
def test_operations_add_up_to_the_layers(name, preset, stride_in_1x1):
    model = nln.build(name, 7, preset, width=4, stride_in_1x1=stride_in_1x1)
    costs = count(model, (9, 70, 50))
    assert (costs.multiply_adds, costs.pairwise) == by_layers(model, (9, 70, 50))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({}, 6 * 16),
        ({"subsample": 1}, 6 * 64),
        ({"extent": "space"}, 16),
        ({"extent": "time"}, 6),
        ({"group_frames": 2}, 2 * 16),
    ],
)
def test_pairwise_work_is_two_products_over_the_keys_of_each_query(kind, options, keys):
    """Concatenation adds w . theta + w . phi instead of a product: one product is left."""
    block = nln.NonLocalBlock(10, kind=kind, **options).to("meta")
    inner = 5
    width = {"gaussian": 10, "gaussian_distance": 10, "concatenation": 0}.get(kind, inner)
    assert multiply_adds(block, (10, 6, 8, 8))[1] == 6 * 64 * keys * (width + inner)


def test_counting_leaves_the_model_as_it_was():
    model = nln.build("nl1_c2d_tiny", 3).train()
    costs = count(model, (4, 64, 64))
    assert model.training
    assert model.fc.weight.device.type == "cpu"
    assert model.res3[0].nonlocal_block.engine == "auto"
    assert costs.parameters == sum(p.numel() for p in model.parameters())
    weights = [p.numel() for name, p in model.named_parameters() if p.ndim > 1]
    assert costs.weights == sum(weights)
