"""Sec. 4: a clip of one repeated frame gives an inflated network the image network's features."""

import pytest
import timm
import torch
import torchvision
from torch import nn

import nonlocalnet as nln
from nonlocalnet.models.zoo import PRESETS
from nonlocalnet.weights.load import load_pretrained

STAGES = ("res2", "res3", "res4", "res5")


def image_network(make=torchvision.models.resnet50):
    """Random weights and random statistics, so that nothing cancels."""
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.0)
                part.bias.normal_(std=0.1)
                part.running_mean.normal_(std=0.1)
                part.running_var.uniform_(0.5, 1.5)
    return model.eval()


def image_features(model, frame, padded):
    """Stage name -> (B, C, 1, H, W); not every preset pads pool1, as torchvision does."""
    x = torch.relu(model.bn1(model.conv1(frame)))
    x = nn.functional.max_pool2d(x, 3, 2, int(padded))
    maps = {}
    for number, stage in enumerate(STAGES, 1):
        x = model.get_submodule(f"layer{number}")(x)
        maps[stage] = x[:, :, None]
    return maps


def video_features(model, x):
    maps = {}
    handles = [
        model.get_submodule(stage).register_forward_hook(
            lambda _, __, output, stage=stage: maps.update({stage: output})
        )
        for stage in STAGES
    ]
    with torch.no_grad():
        logits = model(x)
    for handle in handles:
        handle.remove()
    return maps, logits


def inflated(name, preset, source, classes=1000):
    model = nln.build(name, classes, preset).eval()
    load_pretrained(model, source.state_dict(), source="torchvision")
    return model


def errors(got, want):
    """Per frame, the largest difference over the largest feature."""
    return (got - want).abs().amax((0, 1, 3, 4)) / want.abs().max()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["c2d_r50", "nl5_c2d_r50"])
def test_a_c2d_gives_the_image_features_at_every_frame(name, preset):
    source = image_network()
    model = inflated(name, preset, source)
    padded = model.pool1.padding[1] == 1
    frame = torch.randn(1, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        want = image_features(source, frame, padded)
        got, logits = video_features(model, frame[:, :, None].expand(-1, -1, 32, -1, -1))
        for stage in STAGES:
            assert errors(got[stage], want[stage]).max() < 1e-5, stage
        scores = source.fc(want["res5"].mean((2, 3, 4)))
        torch.testing.assert_close(logits, scores, rtol=1e-4, atol=1e-5 * scores.abs().max().item())
        if padded:
            torch.testing.assert_close(source(frame), scores)


@pytest.mark.parametrize(
    ("make", "name"),
    [(torchvision.models.resnet101, "c2d_r101"), (timm.models.resnet50, "c2d_r50")],
    ids=["torchvision-101", "timm"],
)
def test_other_image_networks_give_their_own_logits(make, name):
    source = image_network(make)
    model = inflated(name, "paper", source)
    frame = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        want = source(frame)
        got = model(frame[:, :, None].expand(-1, -1, 8, -1, -1))
    assert (got - want).abs().max() < 1e-5 * want.abs().max()


def through(seen, layer):
    """Which frames of a layer's output have seen the zeros beyond the clip's ends.

    `seen` says so of its input. A max-pool's padding is minus infinity: it adds nothing.
    """
    kernel, stride, padding = (n[0] for n in (layer.kernel_size, layer.stride, layer.padding))
    edge = [isinstance(layer, nn.Conv3d)] * padding
    frames = [*edge, *seen, *edge]
    return [any(frames[t : t + kernel]) for t in range(0, len(frames) - kernel + 1, stride)]


def seen_padding(model, frames):
    """Stage name -> which frames of its output have seen zeros, from the kernels that are there."""
    seen = through(through([False] * frames, model.conv1), model.pool1)
    stages = {}
    for stage in STAGES:
        for block in model.get_submodule(stage):
            inside = through(through(seen, block.conv1), block.conv2)
            seen = [a or b for a, b in zip(seen, inside, strict=True)]
        stages[stage] = seen
        if stage == "res2":
            seen = through(seen, model.pool2)
    return stages


@pytest.mark.parametrize(("preset", "reach"), [("paper", (3, 4, 7, 9)), ("official", (4, 4, 7, 8))])
@pytest.mark.parametrize("name", ["i3d_r50", "i3d333_r50"])
def test_an_i3d_gives_them_where_it_sees_no_padding(name, preset, reach):
    """`reach`: how many frames from either end have seen it, stage by stage (docs/models.md)."""
    source = image_network()
    model = inflated(name, preset, source)
    frame = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        want = image_features(source, frame, padded=preset == "paper")
        got, _ = video_features(model, frame[:, :, None].expand(-1, -1, 160, -1, -1))
    seen = seen_padding(model, 160)
    for stage, frames in zip(STAGES, reach, strict=True):
        length = got[stage].shape[2]
        assert seen[stage] == [not frames <= t < length - frames for t in range(length)]
        wrong = errors(got[stage], want[stage])
        inside = ~torch.tensor(seen[stage])
        assert inside.any()
        assert wrong[inside].max() < 1e-5, stage
        assert min(wrong[0], wrong[-1]) > 1e-2, stage  # at the ends the law does not hold
        assert (wrong[:4].diff() < 0).all(), "the error fades inwards"


@pytest.mark.parametrize("name", ["i3d_r50", "i3d333_r50"])
def test_32_frames_have_no_interior_after_res3(name):
    seen = seen_padding(nln.build(name, width=4), 32)
    assert [all(seen[stage]) for stage in STAGES] == [False, True, True, True]
