"""The parts of the inference form, each against the layer it stands for."""

import copy

import pytest
import torch
from torch import nn

from nonlocalnet.nn.block import NonLocalBlock
from nonlocalnet.nn.inference import (
    ClipConv,
    ImageConv,
    as_clips,
    as_images,
    fold_norm,
    folded_block,
    runs_onednn,
)
from nonlocalnet.ops.pairwise import KINDS


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_norm(channels, **options):
    norm = nn.BatchNorm3d(channels, **options).eval()
    norm.running_mean = noise(channels, seed=1)
    norm.running_var = noise(channels, seed=2).square() + 0.5
    for value in norm.parameters():
        value.data = noise(channels, seed=3) + 2
    return norm


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [(1, 1, 1), (1, 3, 3), (3, 1, 1), (5, 1, 1), (3, 3, 3)])
@pytest.mark.parametrize("frames", [1, 2, 6])
def test_a_convolution_of_clips_is_one_of_images(kernel, stride, frames, bias, affine):
    """Frames fewer than the kernel is long too; with and without the map that it adds onto."""
    torch.manual_seed(0)
    padding = tuple(k // 2 for k in kernel)
    conv = nn.Conv3d(4, 6, kernel, (1, stride, stride), padding, bias=bias)
    norm = random_norm(6, affine=affine)
    fast, x = ClipConv(conv, norm), channels_last(noise(2, 4, frames, 6, 5))
    with torch.no_grad():
        want = norm(conv(x))
        images, onto = as_images(x), channels_last(noise(*want.shape, seed=4))
        for relu in (False, True):
            end = torch.relu if relu else nn.Identity()
            got = fast(images, 2, relu)
            torch.testing.assert_close(as_clips(got, 2), end(want), rtol=1e-4, atol=1e-4)
            got = fast(images, 2, relu, as_images(onto.clone()))
            torch.testing.assert_close(as_clips(got, 2), end(want + onto), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lack", ["weight", "bias"])
def test_a_norm_that_lacks_scale_or_shift_is_folded(lack):
    conv, norm = nn.Conv3d(2, 3, 1), random_norm(3)
    setattr(norm, lack, None)
    weight, bias = fold_norm(conv, norm)
    x = noise(1, 2, 3, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(nn.functional.conv3d(x, weight, bias), norm(conv(x)))


OPTIONS = [
    {},
    {"norm": None},
    {"subsample": 1},
    {"subsample": 3},
    {"subsample_input": True},
    {"extent": "space"},
    {"extent": "time"},
    {"group_frames": 2},
    {"inner_channels": 2},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(4, 4, 4), (3, 9, 7), (1, 2, 2), (3, 1, 7)])
def test_a_folded_block_answers_as_the_block(kind, options, shape):
    """With weights so large that each query looks at few keys: a wrong key would show.

    With 40 inner channels W_theta and W_z are cheaper on the keys, with 2 they are not.
    """
    torch.manual_seed(0)
    block = NonLocalBlock(12, kind=kind, **{"inner_channels": 40, **options}).eval()
    if block.norm is not None:
        block.norm = random_norm(12)
    else:
        nn.init.normal_(block.w_z.weight, std=0.3)
    for conv in (block.g, block.w_z, *((block.theta, block.phi) if block.embeds else ())):
        nn.init.normal_(conv.bias, std=0.5)
    x = channels_last(noise(2, 12, *shape))
    with torch.no_grad():
        want = block(x)
        got = folded_block(block)(x.clone())
    assert (want - x).abs().mean() > 0.1
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_a_folded_block_takes_what_the_block_takes():
    folded = folded_block(NonLocalBlock(6).eval())
    with pytest.raises(ValueError, match=r"takes \(B, 6, T, H, W\), got \(2, 5, 3, 4, 4\)"):
        folded(noise(2, 5, 3, 4, 4))


def test_layouts_follow_the_weights_and_the_sizes():
    """Three sizes and one again; then other weights, as a change of type and back makes them."""
    conv = ImageConv(noise(6, 4, 3, 3), noise(6), padding=1)
    sizes = [noise(n, 4, 5, 5).contiguous(memory_format=torch.channels_last) for n in (1, 2, 3, 1)]

    def check():
        for x in sizes:
            want = nn.functional.conv2d(x, conv.weight, conv.bias, padding=1)
            torch.testing.assert_close(conv(x), want, rtol=1e-4, atol=1e-4)

    check()
    before = conv.weight.clone()
    conv.bfloat16().float()
    assert not torch.equal(conv.weight, before)
    check()
    x, twin = sizes[0], copy.deepcopy(conv)
    assert torch.equal(twin(x), conv(x))


def test_an_empty_batch_is_no_work_for_onednn():
    conv = ImageConv(noise(6, 4, 3, 3), None, padding=1)
    assert not runs_onednn(noise(0, 4, 5, 5))
    assert conv(noise(0, 4, 5, 5)).shape == (0, 6, 5, 5)
