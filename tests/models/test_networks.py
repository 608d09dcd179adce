"""Laws that hold for every network: any clip, determinism, the identity start, its gradients."""

import copy

import pytest
import torch
from torch.nn import functional as F

import nonlocalnet as nln
from nonlocalnet.models.zoo import PRESETS
from nonlocalnet.ops.pairwise import KINDS

NAMES = nln.list_models()
ALL = [
    *((name, "paper") for name in NAMES),
    *((name, "official") for name in NAMES if name.endswith("r50")),
    *(("nl5_i3d_r50", preset) for preset in PRESETS if preset not in ("paper", "official")),
]
# Training three steps of every R101 in double precision takes a minute: one stands for them.
WAKING = [
    pytest.param(*case, marks=pytest.mark.long)
    if case[0].endswith("r101") and case[0] != "nl10_i3d_r101"
    else case
    for case in ALL
]
WITH_BLOCKS = [(name, preset) for name, preset in ALL if name.startswith("nl")]


def network(name, preset="paper", seed=0, **options):
    torch.manual_seed(seed)
    return nln.build(name, 3, preset, **{"width": 4, "dropout": 0.0, **options})


def awake(*args, **options):
    """With every zero of the start replaced, so that each branch and block shows."""
    model = network(*args, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.uniform_(0.2, 0.6)
    return model


def clip(*shape, batch=1, dtype=torch.float32):
    """Blobs rather than noise: with noise every window of pool1 would hold a positive value."""
    rng = torch.Generator().manual_seed(1)
    blobs = torch.randn(batch, 3, 4, 5, 5, generator=rng, dtype=dtype)
    return F.interpolate(blobs, shape, mode="trilinear")


@pytest.mark.parametrize(("name", "preset"), ALL)
def test_any_clip_runs_and_evaluation_repeats(name, preset):
    model = awake(name, preset).eval()
    with torch.no_grad():
        for shape in [(1, 32, 32), (5, 40, 24), (128, 32, 32)]:
            logits = model(clip(*shape))
            assert logits.shape == (1, 3)
            assert logits.isfinite().all()
            assert logits.std() > 0
            assert torch.equal(logits, model(clip(*shape)))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "preset"), WITH_BLOCKS)
def test_starts_as_the_same_network_without_blocks(name, preset, training):
    with_blocks = network(name, preset).train(training)
    trunk = network(name.split("_", 1)[1], preset).train(training)
    x = clip(8, 32, 32, batch=2)
    assert torch.equal(with_blocks(x), trunk(x))


def gradients(model, steps, shape):
    """By parameter name, the largest gradient after so many optimiser steps."""
    model = model.double().train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    x = clip(*shape, batch=2, dtype=torch.float64)
    for step in range(steps + 1):
        optimiser.zero_grad()
        F.cross_entropy(model(x), torch.tensor([0, 1])).backward()
        if step < steps:
            optimiser.step()
    return {name: p.grad.abs().max().item() for name, p in model.named_parameters()}


def cancelled(model, name, start):
    """Biases that what follows them takes out again, so that they get no gradient, ever.

    A softmax does not see what all keys of a query gain (phi), and its rows sum to 1, so a shift
    of g is one of y. A batch norm subtracts what all positions gain: the block's own that of w_z,
    and after the last block of a stage those of the next stage's first residual block (unless its
    first convolution pads frames with zeros, which do not gain; at the start it gives zero anyway).
    """
    host, found, part = name.partition(".nonlocal_block.")
    if not found:
        return False
    block = model.get_submodule(f"{host}.nonlocal_block")
    softmax = block.kind not in ("dot_product", "concatenation")
    shifts = {"w_z.bias", "g.bias"} if softmax else {"w_z.bias"}
    gone = {"phi.bias"} if softmax else set()
    if block.norm is not None:
        gone |= shifts
    stage, index = host.split(".")
    if stage != "res5" and int(index) == len(model.get_submodule(stage)) - 1:
        following = model.get_submodule(f"res{int(stage[3]) + 1}.0.conv1")
        if start or following.kernel_size[0] == 1:
            gone |= {*shifts, "norm.bias"}
    return part in gone


def check_waking(make, shape=(16, 64, 64)):
    model = make()
    for name, size in gradients(model, 0, shape).items():
        if "nonlocal_block" in name:
            host = name.split("nonlocal_block.")[0] + "nonlocal_block"
            last = "w_z" if model.get_submodule(host).norm is None else "norm"
            last = f".{last}." in name
            assert (size > 1e-12) == (last and not cancelled(model, name, start=True)), name
    for name, size in gradients(make(), 2, shape).items():
        if cancelled(model, name, start=False):
            assert size < 1e-15, name
        else:
            assert size > 1e-12, name


@pytest.mark.parametrize(("name", "preset"), WAKING)
def test_blocks_wake_from_their_last_layer_and_then_everything_learns(name, preset):
    check_waking(lambda: network(name, preset))


@pytest.mark.parametrize(("stage", "block"), [("res2", 1), ("res3", 2), ("res4", 4), ("res5", 1)])
def test_a_block_in_any_stage_wakes(stage, block):
    """Table 2b's places: right before the last residual block of the stage."""
    check_waking(lambda: network("c2d_r50", nonlocal_={stage: (block,)}), (16, 128, 128))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extent", ["spacetime", "space", "time"])
@pytest.mark.parametrize("norm", ["batch", None])
def test_any_kind_of_block_wakes(kind, extent, norm):
    options = {"kind": kind, "extent": extent, "norm": norm, "scale": 1.0}
    check_waking(lambda: network("nl1_c2d_tiny", **options), (3, 64, 64))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_c2d_of_one_frame_is_that_of_the_frame_repeated(preset):
    """Also where the preset's pools span two frames: their windows are cut to the clip."""
    model = awake("c2d_r50", preset).double().eval()
    x = clip(1, 64, 48, dtype=torch.float64)
    torch.testing.assert_close(model(x), model(x.expand(-1, -1, 32, -1, -1)))


SIZES = [(32, 224, 224), (128, 224, 224), (32, 256, 340), (32, 454, 256), (128, 288, 288)]


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize("size", [*SIZES, (128, 320, 426)])
def test_places_of_the_dense_test(preset, size):
    """One per 32 px in H and W where a 224 px crop (7 cells) fits: Sec. 4.1's full frames."""
    with torch.device("meta"):
        model = nln.build("nl5_i3d_r50", 10, preset, width=4, engine="dense").eval()
        logits = model(torch.zeros(1, 3, *size), dense=True)
    assert logits.shape == (1, 10, 1, *(-(-side // 32) - 6 for side in size[1:]))


def test_released_128_frame_blocks_of_res3_see_four_frames():
    """Of the released networks only those for long clips have blocks without batch norm."""
    long = awake("nl5_i3d_r50", "official", norm=None).double().eval()
    blocks = nln.nonlocal_blocks(long)
    assert {name: block.group_frames for name, block in blocks.items()} == {
        f"{host}.nonlocal_block": 4 if host.startswith("res3") else None
        for host in ("res3.1", "res3.3", "res4.1", "res4.3", "res4.5")
    }
    whole = awake("nl5_i3d_r50", "official", norm=None, group_frames=None).double().eval()
    assert not any(b.group_frames for b in nln.nonlocal_blocks(whole).values())
    again = nln.nonlocal_blocks(nln.build(**long.config))
    assert [b.group_frames for b in again.values()] == [b.group_frames for b in blocks.values()]
    whole.load_state_dict(long.state_dict())
    short, x = (clip(frames, 64, 64, dtype=torch.float64) for frames in (32, 128))
    with torch.no_grad():
        torch.testing.assert_close(long(short), whole(short))  # 4 feature frames: one group
        assert (long(x) - whole(x)).abs().max() > 1e-5


@pytest.mark.parametrize("name", ["nl5_i3d_r50", "nl1_c2d_tiny"])
def test_checkpointing_changes_memory_and_nothing_else(name):
    """Bit for bit: gradients, weights and statistics after steps of training."""
    usual, saving = network(name), network(name, checkpointing=True)
    assert list(usual.state_dict()) == list(saving.state_dict())
    assert usual.config == saving.config
    x = clip(8, 64, 64, batch=2)
    kept = []
    for model in (usual.train(), saving.train()):
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimiser.zero_grad()
            sizes = []
            with torch.autograd.graph.saved_tensors_hooks(
                lambda t, sizes=sizes: (sizes.append(t.numel()), t)[1], lambda t: t
            ):
                loss = F.cross_entropy(model(x), torch.tensor([0, 1]))
            loss.backward()
            optimiser.step()
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2
    for (key, want), got in zip(
        usual.state_dict().items(), saving.state_dict().values(), strict=True
    ):
        assert torch.equal(got, want), key
    for want, got in zip(usual.parameters(), saving.parameters(), strict=True):
        assert torch.equal(got.grad, want.grad)
    assert saving.bn1.num_batches_tracked == saving.res3[0].bn2.num_batches_tracked == 3


def test_a_checkpointed_graph_runs_backward_twice():
    """With `retain_graph`: twice the gradients, and statistics of one batch."""
    model = network("nl1_c2d_tiny", checkpointing=True).train()
    loss = model(clip(4, 64, 64, batch=2)).square().sum()
    loss.backward(retain_graph=True)
    once = [parameter.grad.clone() for parameter in model.parameters()]
    loss.backward()
    for parameter, grad in zip(model.parameters(), once, strict=True):
        assert torch.equal(parameter.grad, 2 * grad)
    assert model.res3[0].bn2.num_batches_tracked == 1


def test_a_block_inserted_into_a_checkpointed_network_learns_the_same():
    usual, saving = network("c2d_tiny"), network("c2d_tiny", checkpointing=True)
    x = clip(4, 64, 64, batch=2)
    for model in (usual.train(), saving.train()):
        torch.manual_seed(0)
        nln.insert_nonlocal(model, at=["res3.0.bn2"], example=x)
        with torch.no_grad():
            for parameter in model.parameters():
                if not parameter.any():
                    parameter.fill_(0.1)
        model(x).square().sum().backward()
    assert usual.res3[0].bn2.nonlocal_block.theta.weight.grad.any()
    for want, got in zip(usual.parameters(), saving.parameters(), strict=True):
        assert torch.equal(got.grad, want.grad)
    for want, got in zip(usual.buffers(), saving.buffers(), strict=True):
        assert torch.equal(got, want)


def test_a_frozen_network_trains_and_keeps_its_statistics():
    """Sec. 5.1: batch norm frozen for small batches of 128 frames."""
    model = awake("i3d_r50")
    nln.freeze_bn(model)
    before = copy.deepcopy(model.state_dict())
    model.train()(clip(8, 32, 32)).square().sum().backward()  # one clip: 1 x 1 x 1 cells in res5
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for key, new in model.state_dict().items():
        norm = ".bn" in f".{key}" or "downsample.1" in key
        assert torch.equal(new, before[key]) == norm, key


@pytest.mark.parametrize(
    ("preset", "x", "sentence"),
    [
        ("paper", torch.zeros(3, 8, 32, 32), r"a clip is \(B, 3, T, H, W\).*got \(3, 8, 32, 32\)"),
        ("paper", torch.zeros(1, 8, 3, 32, 32), r"\(B, 3, T, H, W\).*got \(1, 8, 3, 32, 32\)"),
        ("paper", torch.zeros(1, 3, 8, 32, 32, dtype=torch.uint8), "floating point.*torch.uint8"),
        ("paper", torch.zeros(1, 3, 0, 32, 32), "0 frames of 32x32 px.*1 frame of 1x1 px at least"),
        (
            "official",
            torch.zeros(1, 3, 8, 4, 64),
            "8 frames of 4x64 px.*1 frame of 5x5 px",
        ),
    ],
)
def test_an_impossible_clip_is_one_sentence(preset, x, sentence):
    with pytest.raises(ValueError, match=sentence):
        network("nl1_c2d_r50", preset)(x)


@pytest.mark.parametrize(("preset", "pixels"), [("paper", 1), ("official", 5)])
def test_the_smallest_clip_runs(preset, pixels):
    assert (
        network("nl5_c2d_r50", preset).eval()(torch.zeros(1, 3, 1, pixels, pixels)).isfinite().all()
    )
