"""The same weights through the blocks of mmcv-lite, pytorchvideo and timm, and through ours."""

import warnings

import pytest
import torch
from torch import nn

from nonlocalnet.nn.block import NonLocalBlock

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    mmcv = pytest.importorskip("mmcv.cnn.bricks.non_local")
    pytorchvideo = pytest.importorskip("pytorchvideo.layers.nonlocal_net")
    timm = pytest.importorskip("timm.layers.non_local_attn")

SHAPES = {1: (2, 8, 9), 2: (2, 8, 7, 6), 3: (2, 8, 3, 6, 5)}


def randomise(module):
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) / 3)
    return module


def copy_conv(source, target):
    target.load_state_dict(source.state_dict())


def assert_equal(peer, ours, shape, gradient=True):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), requires_grad=True)
    want, got = peer(x), ours(x)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    assert (want - x).abs().max() > 0.1  # the branch shows
    if not gradient:
        return
    (want_grad,) = torch.autograd.grad(want.square().mean(), x)
    (got_grad,) = torch.autograd.grad(got.square().mean(), x)
    torch.testing.assert_close(got_grad, want_grad, rtol=1e-5, atol=1e-5)


def from_mmcv(peer, ndim, engine):
    """mmcv pools after the projections and scales the embedded gaussian only, by D ** -0.5."""
    scaled = peer.mode == "embedded_gaussian" and peer.use_scale
    ours = NonLocalBlock(
        peer.in_channels,
        ndim=ndim,
        kind=peer.mode,
        inner_channels=peer.inter_channels,
        subsample=2 if peer.sub_sample else 1,
        scale=peer.inter_channels**-0.5 if scaled else 1.0,
        norm=None,
        engine=engine,
    )
    pooled = {"g"} | ({"phi"} if peer.mode != "gaussian" else set()) if peer.sub_sample else set()
    for name in ("theta", "phi", "g") if ours.embeds else ("g",):
        part = getattr(peer, name)
        copy_conv((part[0] if name in pooled else part).conv, getattr(ours, name))
    copy_conv(peer.conv_out.conv, ours.w_z)
    if ours.w_f is not None:
        with torch.no_grad():
            ours.w_f.copy_(peer.concat_project.conv.weight.flatten())
    return ours


@pytest.mark.parametrize("kind", ["gaussian", "embedded_gaussian", "dot_product", "concatenation"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("sub_sample", [False, True])
@pytest.mark.parametrize("engine", ["dense", "exact"])
def test_mmcv(kind, ndim, sub_sample, engine):
    block = getattr(mmcv, f"NonLocal{ndim}d")
    for use_scale in (True, False):
        peer = randomise(block(8, mode=kind, sub_sample=sub_sample, use_scale=use_scale))
        # mmcv divides the ReLU's output in place, so its concatenation has no gradient at all.
        gradient = kind != "concatenation"
        assert_equal(peer, from_mmcv(peer, ndim, engine), SHAPES[ndim], gradient)


@pytest.mark.parametrize(
    ("kind", "theirs"), [("embedded_gaussian", "softmax"), ("dot_product",) * 2]
)
@pytest.mark.parametrize("pool", [None, (1, 2, 2)])
@pytest.mark.parametrize("engine", ["dense", "exact"])
def test_pytorchvideo(kind, theirs, pool, engine):
    """pytorchvideo pools x before the projections, and always scales its softmax."""
    peer = pytorchvideo.create_nonlocal(dim_in=8, dim_inner=4, pool_size=pool, instantiation=theirs)
    randomise(peer)
    ours = NonLocalBlock(
        8, kind=kind, subsample=2 if pool else 1, subsample_input=True, engine=engine
    )
    for theirs_name, name in [("conv_theta", "theta"), ("conv_phi", "phi"), ("conv_g", "g")]:
        copy_conv(getattr(peer, theirs_name), getattr(ours, name))
    copy_conv(peer.conv_out, ours.w_z)
    copy_conv(peer.norm, ours.norm)
    for training in (True, False):
        assert_equal(peer.train(training), ours.train(training), SHAPES[3])


@pytest.mark.parametrize("engine", ["dense", "exact"])
def test_timm(engine):
    """timm does not pool, and scales by the width of x where others take the inner width."""
    peer = randomise(timm.NonLocalAttn(8, rd_channels=4))
    ours = NonLocalBlock(8, ndim=2, inner_channels=4, subsample=1, scale=8**-0.5, engine=engine)
    for theirs_name, name in [("t", "theta"), ("p", "phi"), ("g", "g"), ("z", "w_z")]:
        copy_conv(getattr(peer, theirs_name), getattr(ours, name))
    copy_conv(peer.norm, ours.norm)
    assert isinstance(peer.norm, nn.BatchNorm2d)
    assert_equal(peer, ours, SHAPES[2])
