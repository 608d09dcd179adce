"""The numbers by which a user sees whether a block is awake and where it looks."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from nonlocalnet.nn.block import NonLocalBlock
from nonlocalnet.nn.insert import insert_nonlocal
from nonlocalnet.nn.stats import block_stats


def clip(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def even(**options):
    """A block that looks everywhere alike: queries of zero."""
    block = NonLocalBlock(4, **options)
    nn.init.zeros_(block.theta.weight)
    return nn.Sequential(block)


@pytest.mark.parametrize(
    ("extent", "keys"), [("spacetime", 3 * 2 * 2), ("space", 2 * 2), ("time", 3)]
)
def test_an_even_block_has_the_entropy_of_its_keys(extent, keys):
    stats = block_stats(even(extent=extent), clip(2, 4, 3, 4, 4))["0"]
    assert stats.entropy == pytest.approx(math.log(keys))
    assert stats.uniform_entropy == pytest.approx(math.log(keys))
    assert stats.row_max == pytest.approx(1 / keys)
    assert (stats.gamma, stats.branch_ratio) == (0.0, 0.0)


def test_a_shorter_last_group_has_fewer_keys():
    stats = block_stats(even(group_frames=2, subsample=1), clip(1, 4, 5, 2, 2))["0"]
    assert stats.uniform_entropy == pytest.approx((4 * math.log(8) + math.log(4)) / 5)
    assert stats.entropy == pytest.approx(stats.uniform_entropy)


def test_distances_of_an_even_block_are_those_of_the_grid():
    stats = block_stats(even(extent="time"), clip(1, 4, 3, 2, 2))["0"]
    assert stats.distance == 0.0
    # Frames 0, 1, 2 look at 0, 1, 2: means of distance 1, 2/3, 1.
    assert stats.frames == pytest.approx((1 + 2 / 3 + 1) / 3)
    stats = block_stats(even(ndim=1, subsample=2), clip(1, 4, 4))["0"]
    # Cells 0..3 look at 0.5 and 2.5: means 1.5, 1, 1, 1.5.
    assert stats.distance == pytest.approx(1.25)
    assert stats.frames == 0.0


def test_distances_where_keys_are_fewer_than_queries():
    stats = block_stats(even(), clip(1, 4, 3, 4, 4))["0"]  # 48 queries, 12 keys
    assert stats.frames == pytest.approx((1 + 2 / 3 + 1) / 3)
    # A cell 0..3 is 0.5 and 2.5, or 1.5 and 0.5, away from the keys of an axis.
    apart = [math.hypot(y, x) for y in (0.5, 2.5, 1.5, 0.5) for x in (0.5, 2.5, 1.5, 0.5)]
    assert stats.distance == pytest.approx(sum(apart) / 16)


def test_branch_ratio_is_what_the_block_adds():
    block = NonLocalBlock(4, norm=None)
    nn.init.ones_(block.w_z.bias)
    x = clip(1, 4, 2, 4, 4)
    stats = block_stats(nn.Sequential(block), x)["0"]
    assert stats.gamma is None
    assert stats.branch_ratio == pytest.approx((x.numel() ** 0.5 / x.norm()).item(), rel=1e-5)


def test_every_cell_of_a_small_map_counts_once_and_a_large_one_is_sampled_evenly():
    block = NonLocalBlock(4, ndim=1, subsample=1)
    x = clip(1, 4, 5)
    rows = block.weights(x, torch.arange(5)[:, None])
    entropy = torch.special.entr(rows).sum(-1).mean().item()
    assert block_stats(nn.Sequential(block), x)["0"].entropy == pytest.approx(entropy)
    asked, weights = [], block.weights
    block.weights = lambda x, positions: weights(x, asked.append(positions) or positions)
    block_stats(nn.Sequential(block), clip(1, 4, 100))
    cells = asked[0].flatten().tolist()
    assert (len(cells), cells[0], cells[-1]) == (64, 0, 99)
    assert {after - before for before, after in pairwise(cells)} == {1, 2}


@pytest.mark.parametrize("x", [clip(1, 4, 2, 4, 4), torch.eye(4)[None, :, :2]])
def test_a_saturated_block_warns_whoever_asked(x):
    block = NonLocalBlock(4, ndim=x.ndim - 2, kind="gaussian", subsample=1)
    with pytest.warns(UserWarning, match=r"block '0' is saturated.*row maximum is 1.00") as seen:
        assert block_stats(nn.Sequential(block), 100 * x)["0"].entropy < 0.1
    assert seen[0].filename == __file__


def test_a_block_of_one_key_has_no_choice_and_is_not_called_saturated():
    stats = block_stats(nn.Sequential(NonLocalBlock(4)), clip(1, 4, 1, 2, 2))["0"]
    assert (stats.row_max, stats.entropy, stats.uniform_entropy) == (1.0, 0.0, 0.0)


def test_kinds_without_softmax_have_stats_too():
    for kind in ("dot_product", "concatenation", "gaussian_distance"):
        stats = block_stats(nn.Sequential(NonLocalBlock(4, kind=kind)), clip(1, 4, 2, 4, 4))["0"]
        assert 0 < stats.entropy <= stats.uniform_entropy + 1e-6


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    x = clip(2, 3, 4, 4)
    insert_nonlocal(model, ["1"], x)
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    assert list(block_stats(model, (x,))) == ["1.nonlocal_block"]
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not nn.Module.__dict__.get("_forward_hooks")
    assert not model[1].nonlocal_block._forward_hooks


def test_no_block_is_an_error():
    with pytest.raises(ValueError, match="holds no NonLocalBlock; insert_nonlocal puts them in"):
        block_stats(nn.Conv2d(3, 4, 1), clip(1, 3, 4, 4))

    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = NonLocalBlock(4)

        def forward(self, x):
            return x

    with pytest.raises(ValueError, match="none of the blocks block ran on the batch"):
        block_stats(Idle(), clip(1, 4, 2, 4, 4))
