"""The block: Equation 6, its start, its rows and its errors."""

import pytest
import torch

from nonlocalnet.nn.block import EXTENTS, NonLocalBlock
from nonlocalnet.ops.operation import ENGINES
from nonlocalnet.ops.pairwise import KINDS

SHAPES = {1: (2, 6, 7), 2: (2, 6, 5, 4), 3: (2, 6, 3, 5, 4)}


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def awake(seed=0, **options):
    """A block with every parameter random, so that its branch shows."""
    block = NonLocalBlock(6, **options).double()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64) / 2)
    return block


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("norm", ["batch", None])
@pytest.mark.parametrize("training", [True, False])
def test_starts_as_the_identity_bit_for_bit(kind, ndim, norm, training):
    x = noise(*SHAPES[ndim], dtype=torch.float32)
    block = NonLocalBlock(6, ndim=ndim, kind=kind, norm=norm).train(training)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["batch", None])
@pytest.mark.parametrize("training", [True, False])
def test_starts_as_the_identity_in_float16_whatever_the_size_of_features(kind, norm, training):
    """There a product of three features is beyond 65504, and inf times a scale of zero NaN."""
    x = 60 * noise(2, 64, 3, 5, 4, dtype=torch.float32).relu().requires_grad_()
    block = NonLocalBlock(64, kind=kind, norm=norm, scale=1.0).train(training)
    with torch.autocast("cpu", dtype=torch.float16):
        z = block(x)
    assert torch.equal(z, x)
    half = block.half().eval()
    assert torch.equal(half(x.half()), x.half())


@pytest.mark.parametrize("norm", ["batch", None])
def test_one_step_wakes_the_block(norm):
    x = noise(2, 6, 3, 4, 4, dtype=torch.float32)
    block = NonLocalBlock(6, norm=norm)
    steps = torch.optim.SGD(block.parameters(), lr=0.1)
    target = noise(*x.shape, seed=1, dtype=torch.float32)
    for _ in range(2):
        steps.zero_grad()
        (block(x) * target).sum().backward()
        steps.step()
    assert all(part.weight.grad.abs().max() > 0 for part in (block.theta, block.phi, block.g))


KEYS = {
    "conv": ["g.weight", "g.bias", "w_z.weight", "w_z.bias"],
    "embedding": ["theta.weight", "theta.bias", "phi.weight", "phi.bias"],
    "norm": [
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    ],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["batch", None])
@pytest.mark.parametrize(
    "other", [{}, {"subsample": 1}, {"subsample_input": True}, {"extent": "time"}]
)
def test_state_dict_keys_are_the_contract(kind, norm, other):
    want = set(KEYS["conv"])
    want |= set() if kind in ("gaussian", "gaussian_distance") else set(KEYS["embedding"])
    want |= {"w_f"} if kind == "concatenation" else set()
    want |= set(KEYS["norm"]) if norm else set()
    assert set(NonLocalBlock(6, kind=kind, norm=norm, **other).state_dict()) == want


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extent", EXTENTS)
@pytest.mark.parametrize("subsample_input", [True, False])
def test_weights_times_values_is_the_branch(kind, extent, subsample_input):
    """The rows that `weights` shows are the ones the forward pass used."""
    block = awake(kind=kind, extent=extent, subsample_input=subsample_input, norm=None)
    x = noise(*SHAPES[3])
    positions = torch.cartesian_prod(*(torch.arange(size) for size in x.shape[2:]))
    rows = block.weights(x, positions).flatten(2)  # (B, N, M)
    _, _, g, grid = block._embed(x)
    assert rows.shape[2] == g.shape[1] == torch.tensor(grid).prod()
    y = (rows @ g).mT.unflatten(2, x.shape[2:])
    torch.testing.assert_close(x + block.w_z(y), block(x))


@pytest.mark.parametrize("extent", ["space", "time"])
def test_weights_are_zero_outside_the_extent(extent):
    block = awake(extent=extent, kind="gaussian")
    rows = block.weights(noise(*SHAPES[3]), torch.tensor([[1, 4, 2], [0, 0, 0]]))
    assert rows.shape == ((2, 2, 3, 2, 2) if extent == "space" else (2, 2, 3, 5, 4))
    inside = torch.zeros(rows.shape[1:], dtype=torch.bool)
    if extent == "space":
        inside[0, 1] = inside[1, 0] = True
    else:
        inside[0, :, 4, 2] = inside[1, :, 0, 0] = True
    assert (rows[:, ~inside] == 0).all()
    torch.testing.assert_close(rows.sum((2, 3, 4)), torch.ones(2, 2, dtype=torch.float64))


def test_key_centres_are_the_middles_of_the_pooled_cells():
    block = NonLocalBlock(6, subsample=2)
    centres = block.key_centres((2, 5, 1))
    assert centres.shape == (2, 2, 1, 3)
    assert centres[:, :, 0].tolist() == [
        [[0.0, 0.5, 0.0], [0.0, 2.5, 0.0]],
        [[1.0, 0.5, 0.0], [1.0, 2.5, 0.0]],
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ndim": 4}, "ndim=4 is unknown; choose one of 1, 2, 3"),
        ({"kind": "softmax"}, "kind='softmax' is unknown; choose one of 'gaussian', "),
        ({"extent": "frame"}, "extent='frame' is unknown"),
        ({"norm": "group"}, "norm='group' is unknown; choose one of 'batch', None"),
        ({"engine": "fast"}, "engine='fast' is unknown"),
        ({"subsample": "x"}, "subsample must be a whole number of 1 or more, got 'x'"),
        ({"scale": "x"}, "scale must be a number, or None, got 'x'"),
        ({"channels": 0}, "channels must be a whole number of 1 or more, got 0"),
        ({"subsample": 0}, "subsample must be a whole number of 1 or more, got 0"),
        ({"inner_channels": 0}, "inner_channels must be a whole number of 1 or more, got 0"),
        ({"ndim": 2, "extent": "time"}, "extent='time' needs a time axis: ndim=3, got ndim=2"),
        (
            {"group_frames": 4, "extent": "space"},
            "extent='spacetime', got ndim=3 and extent='space'",
        ),
        ({"group_frames": 4, "ndim": 2}, "group_frames=4 needs ndim=3"),
        ({"group_frames": 0}, "group_frames must be a whole number of 1 or more, got 0"),
        ({"kind": "concatenation", "scale": 0.5}, r"scale 1.0 only .* got 0.5"),
        ({"kind": "concatenation", "scale": 2.0}, r"scale 1.0 only .* got 2.0"),
    ],
)
def test_bad_options_say_what_to_choose(options, message):
    with pytest.raises(ValueError, match=message):
        NonLocalBlock(**{"channels": 6, **options})


@pytest.mark.parametrize("norm", ["batch", None])
def test_weights_start_as_he_et_al_draw_them(norm):
    """Mean 0, variance 2 / fan-in, biases 0; of w_z and its batch norm one is 0, the other not."""
    block = NonLocalBlock(64, ndim=1, kind="concatenation", inner_channels=512, norm=norm)

    def states():
        return {name: value.clone() for name, value in block.state_dict().items()}

    first = states()
    with torch.no_grad():
        for value in [*block.parameters(), *block.buffers()]:
            value.fill_(7)
    block.reset_parameters()
    for drawn in (first, states()):
        for name, fan_in in (("theta", 64), ("phi", 64), ("g", 64), ("w_z", 512)):
            weight = drawn[f"{name}.weight"]
            spread = 0 if name == "w_z" and norm is None else (2 / fan_in) ** 0.5
            assert weight.std().item() == pytest.approx(spread, rel=0.02)
            assert abs(weight.mean().item()) <= 0.02 * spread
            assert not drawn[f"{name}.bias"].any()
        assert drawn["w_f"].std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.1)
        if norm is not None:
            for name, value in (
                ("weight", 0),
                ("bias", 0),
                ("running_mean", 0),
                ("running_var", 1),
            ):
                assert (drawn[f"norm.{name}"] == value).all()
            assert drawn["norm.num_batches_tracked"] == 0
    again = states()
    block.reset_parameters(0.01)
    for name in ("theta", "phi", "g", "w_z"):
        spread = 0 if name == "w_z" and norm is None else 0.01
        assert getattr(block, name).weight.std().item() == pytest.approx(spread, rel=0.02)
    assert not torch.equal(first["theta.weight"], again["theta.weight"])
    assert not torch.equal(first["w_f"], again["w_f"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_factor_is_that_of_the_released_code_unless_given(kind):
    default = NonLocalBlock(8, kind=kind).scale
    assert default == (0.5 if kind == "embedded_gaussian" else 1.0)
    if kind != "concatenation":
        assert NonLocalBlock(8, kind=kind, scale=0.25).scale == 0.25
    assert NonLocalBlock(8, kind=kind, scale=1.0).scale == 1.0


def test_keys_are_pooled_after_their_projections_unless_asked_for():
    block, after, before = (
        awake(**options) for options in ({}, {"subsample_input": False}, {"subsample_input": True})
    )
    x = noise(*SHAPES[3])
    assert torch.equal(block(x), after(x))
    assert not torch.allclose(block(x), before(x))


def test_an_axis_as_long_as_the_window_is_pooled():
    block = NonLocalBlock(6, ndim=2, subsample=2)
    assert block.key_grid([2, 2]) == [1, 1]
    assert block.key_grid([1, 3]) == [1, 1]
    assert block.key_centres([2, 1]).tolist() == [[[0.5, 0.0]]]


def test_groups_of_one_frame_are_space():
    x = noise(*SHAPES[3])
    torch.testing.assert_close(awake(group_frames=1)(x), awake(extent="space")(x))


def test_bad_inputs_say_what_the_block_takes():
    block = NonLocalBlock(6)
    with pytest.raises(ValueError, match=r"takes \(B, 6, T, H, W\), got \(2, 5, 3, 4, 4\)"):
        block(noise(2, 5, 3, 4, 4))
    x = noise(2, 6, 3, 4, 4, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"positions must be \(R, 3\), got \(4, 2\)"):
        block.weights(x, torch.zeros(4, 2, dtype=torch.long))
    with pytest.raises(ValueError, match=r"outside the feature map \(3, 4, 4\)"):
        block.weights(x, torch.tensor([[0, 4, 0]]))
    for ndim, axes in ((1, "L"), (2, "H, W")):
        block, wrong = NonLocalBlock(6, ndim=ndim), torch.zeros(2, 5, *SHAPES[ndim][2:])
        for call in (block, lambda x, b=block: b.weights(x, torch.zeros(1, b.ndim))):
            with pytest.raises(ValueError, match=rf"takes \(B, 6, {axes}\), got \(2, 5, "):
                call(wrong)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ndim", [1, 2])
def test_rows_and_branch_agree_without_a_time_axis(kind, ndim):
    block, x = awake(kind=kind, ndim=ndim, norm=None), noise(*SHAPES[ndim])
    positions = torch.cartesian_prod(*(torch.arange(size) for size in x.shape[2:]))
    rows = block.weights(x, positions.view(-1, ndim)).flatten(2)
    y = (rows @ block._embed(x)[2]).mT.unflatten(2, x.shape[2:])
    torch.testing.assert_close(x + block.w_z(y), block(x))


@pytest.mark.parametrize("subsample_input", [False, True])
@pytest.mark.parametrize("engine", ["dense", "exact"])
def test_a_tie_in_the_key_pool_gives_its_gradient_to_the_first_position(engine, subsample_input):
    """By hand: y_i = mean over windows of max(x), windows (2, 2) and (5, 3), z = x + y."""
    block = NonLocalBlock(
        1,
        ndim=1,
        kind="dot_product",
        inner_channels=1,
        norm=None,
        engine=engine,
        subsample_input=subsample_input,
    )
    with torch.no_grad():
        for conv, weight, bias in (
            (block.theta, 0, 1),
            (block.phi, 0, 1),
            (block.g, 1, 0),
            (block.w_z, 1, 0),
        ):
            conv.weight.fill_(weight)
            conv.bias.fill_(bias)
    x = torch.tensor([[[2.0, 2.0, 5.0, 3.0]]], requires_grad=True)
    z = block(x)
    assert z.tolist() == [[[5.5, 5.5, 8.5, 6.5]]]
    z.sum().backward()
    assert x.grad.tolist() == [[[3.0, 1.0, 3.0, 1.0]]]  # 1 of the identity, 4 / 2 of each maximum


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ["dense", "exact"])
@pytest.mark.parametrize(("frames", "height"), [(1, 5), (2, 5), (4, 5), (5, 5), (5, 1)])
def test_groups_of_frames_know_nothing_of_each_other(kind, engine, frames, height):
    """The released 128-frame networks: each group of frames gives what it gives alone."""
    torch.manual_seed(0)
    block = awake(kind=kind, engine=engine, group_frames=2, norm=None)
    alone = awake(kind=kind, engine="dense", norm=None)
    alone.load_state_dict(block.state_dict())
    x = noise(2, 6, frames, height, 4)
    want = torch.cat([alone(part) for part in x.split(2, dim=2)], dim=2)
    torch.testing.assert_close(block(x), want)
    positions = torch.cartesian_prod(*(torch.arange(size) for size in x.shape[2:]))
    rows = block.weights(x, positions)  # (B, N, T, h, w)
    apart = (positions[:, 0, None] // 2) != (torch.arange(frames) // 2)  # (N, T)
    assert (rows.movedim(0, -1)[apart] == 0).all()
    _, _, g, _ = block._embed(x)
    y = (rows.flatten(2) @ g).mT.unflatten(2, x.shape[2:])
    torch.testing.assert_close(x + block.w_z(y), block(x))


def test_a_block_runs_without_data():
    """On "meta" tensors, where shapes and multiply-adds are counted."""
    block = NonLocalBlock(6, engine="dense").to("meta")
    assert block(torch.zeros(2, 6, 3, 5, 4, device="meta")).shape == (2, 6, 3, 5, 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("subsample", [1, 2])
@pytest.mark.parametrize("engine", ENGINES)
def test_no_region_at_all_is_no_error(kind, subsample, engine):
    """A head gets (0, C, H, W) where a detector found nothing; gradients are zero then."""
    block = NonLocalBlock(6, ndim=2, kind=kind, subsample=subsample, norm=None, engine=engine)
    x = torch.zeros(0, 6, 5, 4, requires_grad=True)
    z = block(x)
    assert z.shape == (0, 6, 5, 4)
    z.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape
    assert not block.w_z.weight.grad.any()


def test_half_of_the_channels_are_inner_but_one_at_least():
    assert [NonLocalBlock(channels).inner_channels for channels in (1, 2, 3, 8)] == [1, 1, 1, 4]
