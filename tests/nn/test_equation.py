"""Every combination of the block's options against Equations 1-6 as loops, in float64."""

import copy
import itertools
import math
import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nonlocalnet.nn.block import EXTENTS, NonLocalBlock
from nonlocalnet.ops.pairwise import KINDS
from nonlocalnet.ops.reference import nonlocal_by_loops

OPTIONS = {
    "kind": KINDS,
    "ndim": (1, 2, 3),
    "subsample": (1, 2, 3),
    "subsample_input": (False, True),
    "scale": (None, 1.0, 0.3),
    "norm": ("batch", None),
    "extent": EXTENTS,
    "engine": ("dense", "exact", "auto"),
    "training": (True, False),
}


def allowed(row):
    """Whether the options of a (partial) row go together."""
    return not (
        (row.get("kind") == "concatenation" and row.get("scale") == 0.3)
        or (row.get("ndim", 3) < 3 and row.get("extent", "spacetime") != "spacetime")
    )


def grid():
    rows = (
        dict(zip(OPTIONS, values, strict=True)) for values in itertools.product(*OPTIONS.values())
    )
    return [row for row in rows if allowed(row)]


def pairwise_cover():
    """Few rows in which every allowed pair of options occurs: greedy, best of some tries."""
    rng = random.Random(0)
    rows = grid()
    pairs = [set(itertools.combinations(sorted(row.items(), key=str), 2)) for row in rows]
    missing = set().union(*pairs)
    chosen = []
    while missing:
        tries = rng.sample(range(len(rows)), 300)
        best = max(tries, key=lambda index: len(pairs[index] & missing))
        if pairs[best] & missing:
            missing -= pairs[best]
            chosen.append(rows[best])
    return chosen


COVER = pairwise_cover()


def name(row):
    return "-".join(str(value) for value in row.values())


def by_loops(block, x):  # (B, C, *S)
    """The block as the paper writes it, one position at a time."""
    shape = x.shape[2:]
    cells = list(itertools.product(*(range(size) for size in shape)))
    windows = [
        block.subsample
        if block.extent != "time"
        and not (block.ndim == 3 and axis == 0)
        and size >= block.subsample
        else 1
        for axis, size in enumerate(shape)
    ]
    keys = list(
        itertools.product(*(range(size // step) for size, step in zip(shape, windows, strict=True)))
    )

    def pooled(features, key):  # features: cell -> (D,)
        inside = itertools.product(
            *(range(step * k, step * k + step) for k, step in zip(key, windows, strict=True))
        )
        return torch.stack([features[cell] for cell in inside]).amax(0)

    def extent(i):
        cell = cells[i]
        if block.extent == "space":
            return [j for j, key in enumerate(keys) if key[0] == cell[0]]
        if block.extent == "time":
            return [j for j, key in enumerate(keys) if key[1:] == cell[1:]]
        return range(len(keys))

    def embed(conv, features):
        weight = conv.weight.flatten(1)
        return {place: weight @ value + conv.bias for place, value in features.items()}

    branches = []
    for clip in x:
        at = {cell: clip[(slice(None), *cell)] for cell in cells}
        if block.subsample_input:
            low = {key: pooled(at, key) for key in keys}
            phi = embed(block.phi, low) if block.embeds else low
            g = embed(block.g, low)
        else:
            phi, g = embed(block.phi, at) if block.embeds else at, embed(block.g, at)
            phi = {key: pooled(phi, key) for key in keys}
            g = {key: pooled(g, key) for key in keys}
        theta = embed(block.theta, at) if block.embeds else at
        y = nonlocal_by_loops(
            *(torch.stack(list(part.values())) for part in (theta, phi, g)),
            kind=block.kind,
            scale=block.scale,
            w_f=block.w_f,
            extent=extent,
        )
        branches.append(y @ block.w_z.weight.flatten(1).mT + block.w_z.bias)
    z = torch.stack(branches)  # (B, N, C)
    if block.norm is not None:
        norm = block.norm
        if block.training:
            mean, var = z.mean((0, 1)), z.var((0, 1), unbiased=False)
        else:
            mean, var = norm.running_mean, norm.running_var
        z = (z - mean) / torch.sqrt(var + norm.eps) * norm.weight + norm.bias
    return x + z.mT.reshape(x.shape)


def random_block(row, seed):
    """Every parameter random, W_z and the norm too, so that all of the block shows."""
    rng = torch.Generator().manual_seed(seed)
    options = {key: value for key, value in row.items() if key != "training"}
    block = NonLocalBlock(4, **options).double().train(row["training"])
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
        if block.norm is not None:
            block.norm.running_mean.normal_(generator=rng)
            block.norm.running_var.uniform_(0.5, 2, generator=rng)
    return block, rng


def check(row, seed, sizes):
    block, rng = random_block(row, seed)
    shape = (2, 4, *sizes[: row["ndim"]])
    x = torch.randn(shape, generator=rng, dtype=torch.float64, requires_grad=True)
    want = by_loops(block, x)
    got = block(x)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    grad = torch.randn(shape, generator=rng, dtype=torch.float64)
    places = [x, *block.parameters()]
    want_grads = torch.autograd.grad(want, places, grad, allow_unused=True)
    got_grads = torch.autograd.grad(got, places, grad, allow_unused=True)
    for got_grad, want_grad in zip(got_grads, want_grads, strict=True):
        size = max(want_grad.abs().max().item(), 1.0)
        torch.testing.assert_close(got_grad, want_grad, rtol=1e-8, atol=1e-8 * size)


# Two clips of at least three positions, so that batch norm has a variance to divide by.
SIZES = st.tuples(st.integers(3, 4), st.integers(1, 5), st.integers(1, 4))
RELAXED = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("row", COVER, ids=name)
@given(seed=st.integers(0, 2**31), sizes=SIZES)
@RELAXED
def test_equals_the_equations(row, seed, sizes):
    check(row, seed, sizes)


FULL = [row for row in grid() if row["engine"] != "auto" and row["subsample"] < 3]


@pytest.mark.long
@pytest.mark.parametrize("index", range(len(FULL)), ids=lambda index: name(FULL[index]))
def test_equals_the_equations_on_the_full_grid(index):
    """Seeds and sizes by index: hypothesis keeps a frame per parametrised test, too many here."""
    check(FULL[index], index, (3 + index % 2, 1 + index % 5, 1 + index % 4))


@pytest.mark.parametrize("row", COVER[:12], ids=name)
def test_gradients_are_the_derivatives(row):
    block, rng = random_block({**row, "training": False}, 0)
    x = torch.randn((1, 4, 2, 3, 2)[: row["ndim"] + 2], generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(block, x.requires_grad_(), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("row", COVER, ids=name)
def test_compiles_as_one_graph(row):
    """fullgraph, forward and backward, for every pair of options."""
    torch._dynamo.reset()
    block, rng = random_block(row, 0)
    x = torch.randn((2, 4, 3, 5, 4)[: row["ndim"] + 2], generator=rng, dtype=torch.float64)
    x.requires_grad_()
    compiled = torch.compile(copy.deepcopy(block), fullgraph=True, backend="aot_eager")
    want, got = block(x), compiled(x)
    torch.testing.assert_close(got, want)
    (got_grad,) = torch.autograd.grad(got.square().sum(), x)
    (want_grad,) = torch.autograd.grad(want.square().sum(), x)
    torch.testing.assert_close(got_grad, want_grad)


@pytest.mark.parametrize("row", COVER, ids=name)
def test_channels_last_gives_the_same_in_its_own_layout(row):
    block, rng = random_block(row, 0)
    x = torch.randn((2, 4, 3, 5, 4)[: row["ndim"] + 2], generator=rng, dtype=torch.float64)
    last = x.movedim(1, -1).contiguous().movedim(-1, 1).requires_grad_()
    first = x.clone().requires_grad_()
    torch.testing.assert_close(block(last), block(first))
    assert block(first).stride() == first.stride()
    assert block(last).stride() == last.stride()
    grads = [torch.autograd.grad(block(part).square().sum(), part)[0] for part in (last, first)]
    torch.testing.assert_close(*grads)


def test_the_cover_names_every_pair():
    assert len(COVER) < math.prod(sorted(map(len, OPTIONS.values()))[-2:]) * 2
    for (a, left), (b, right) in itertools.combinations(OPTIONS.items(), 2):
        for one, other in itertools.product(left, right):
            row = {a: one, b: other}
            assert not allowed(row) or any(row.items() <= chosen.items() for chosen in COVER)
