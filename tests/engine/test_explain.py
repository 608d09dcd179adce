"""Where a network looks: cells to pixels, rows, a planted match, and nothing left behind."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from nonlocalnet.data.clips import ClipConfig, to_input
from nonlocalnet.data.longrange import CUT, FPS, SIZE, render, scene
from nonlocalnet.data.writing import write_frames
from nonlocalnet.engine.cells import cell_maps
from nonlocalnet.engine.classifier import Classifier
from nonlocalnet.engine.explain import choose_blocks, explain, look
from nonlocalnet.engine.rows import all_rows
from nonlocalnet.models.optimize import optimize
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.models.zoo import build

POOLS = {
    "paper": (((3, 3, 3), (2, 2, 2), (1, 1, 1)), ((3, 1, 1), (2, 1, 1), (1, 0, 0))),
    "official": (((2, 3, 3), (2, 2, 2), (0, 0, 0)), ((2, 1, 1), (2, 1, 1), (0, 0, 0))),
    "none": (None, None),
}


def smooth(model: VideoResNet) -> VideoResNet:
    """The same geometry without dead units: positive weights, means instead of maxima."""
    for name in ("pool1", "pool2"):
        pool = getattr(model, name)
        if isinstance(pool, nn.MaxPool3d):
            setattr(model, name, nn.AvgPool3d(pool.kernel_size, pool.stride, pool.padding))
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.ones_(module.weight)
        elif isinstance(module, nn.BatchNorm3d):
            nn.init.constant_(module.weight, 0.1)
    return model.eval().double()


@pytest.mark.parametrize(("pools", "stem_t"), [("paper", 5), ("official", 1), ("none", 1)])
@pytest.mark.parametrize("stride_in_1x1", [False, True])
def test_cells_lie_at_the_centre_of_what_they_see(pools, stem_t, stride_in_1x1):
    """The pixels that move a cell are centred where cell_maps says the cell lies."""
    model = smooth(
        VideoResNet(
            num_classes=2,
            depths=(1, 2),
            width=2,
            stem_kernel_t=stem_t,
            stem_stride_t=stem_t // 2 or 1,
            pool1=POOLS[pools][0],
            pool2=POOLS[pools][1],
            kernel_t=lambda stage, block: (1, 3 if stage == 0 and pools != "none" else 1),
            stride_in_1x1=stride_in_1x1,
        )
    )
    frames = {"none": 1, "paper": 49, "official": 25}[pools]
    clip = torch.ones(1, 3, frames, 96, 96, dtype=torch.float64, requires_grad=True)
    seen = {}
    for host in ("res2.0", "res3.0", "res3.1"):
        block = model.get_submodule(host)
        block.register_forward_hook(
            lambda _, inputs, output, host=host: seen.update({host: output})
        )
    model(clip)
    for host, output in seen.items():
        cell = [size // 2 for size in output.shape[2:]]
        (gradient,) = torch.autograd.grad(
            output[0, 0, cell[0], cell[1], cell[2]], clip, retain_graph=True
        )
        for axis, size in enumerate(clip.shape[2:]):
            others = [a for a in range(5) if a != axis + 2]
            touched = gradient.abs().sum(others).nonzero().flatten()
            low, high = int(touched[0]), int(touched[-1])
            assert size == 1 or (low > 0 and high < size - 1), "the field must lie inside"
            cells = cell_maps(model)[host]
            centre = cells.offset[axis] + cells.stride[axis] * cell[axis]
            assert (low + high) / 2 == pytest.approx(centre), f"{host}, axis {axis}"


@pytest.mark.parametrize("kind", ["embedded_gaussian", "gaussian"])
def test_row_sums_to_one_and_holds_the_strongest(kind):
    torch.manual_seed(0)
    model = build("nl1_c2d_tiny", 4, width=4, kind=kind, scale=None)
    (seen,) = look(model, torch.randn(1, 3, 4, 64, 80), (1, 21.0, 33.0), top=7)
    assert seen.row.shape == seen.centres.shape[:3] == (4, 4, 5)
    assert seen.row.sum() == pytest.approx(1, abs=1e-5)
    assert np.array_equal(seen.weights, np.sort(seen.row.ravel())[::-1][:7])
    assert seen.query == (1.0, 24.0, 32.0)
    strongest = np.unravel_index(seen.row.argmax(), seen.row.shape)
    assert np.array_equal(seen.keys[0], seen.centres[strongest])


def test_planted_match_is_found():
    """A block that compares colours (identity theta and phi) points at the only other patch."""
    torch.manual_seed(0)
    model = build("nl1_c2d_tiny", 2, width=16, kind="gaussian_distance", subsample=1, scale=4.0)
    clip = torch.zeros(1, 3, 4, 96, 96)
    clip[:, :, 0, 8:40, 8:40] = torch.tensor([2.0, -2.0, 1.0])[:, None, None]
    clip[:, :, 3, 56:88, 48:80] = torch.tensor([2.0, -2.0, 1.0])[:, None, None]
    (seen,) = look(model, clip, (0, 24.0, 24.0), top=40)
    other = seen.keys[(seen.keys[:, 0] == 3)]
    inside = (abs(other[:, 1] - 71.5) < 16) & (abs(other[:, 2] - 63.5) < 16)
    assert seen.keys[0][0] in (0, 3) and inside[0]
    assert np.abs(other[0, 1:] - (71.5, 63.5)).max() <= 8, "within one cell of the planted middle"


def test_an_optimized_network_is_refused():
    model = optimize(build("nl1_c2d_tiny", 3))
    with pytest.raises(ValueError, match="ask the network it was made from"):
        look(model, torch.zeros(1, 3, 4, 32, 32), (0, 0, 0))


def test_the_model_is_left_as_it_was():
    torch.manual_seed(0)
    model = build("nl1_c2d_tiny", 4, width=4).train()
    model.res2.eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    look(model, torch.randn(1, 3, 2, 32, 32), (0, 0, 0))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_block_is_chosen_by_name_or_as_in_figure_3():
    model = build("nl5_c2d_r50", 2, width=2)
    clip = torch.randn(1, 3, 4, 32, 32)

    def names(block=None):
        return [seen.block for seen in look(model, clip, (0, 0, 0), block=block)]

    assert names() == ["res3.3"] and names("res4.5") == ["res4.5"]
    assert names(["res4.5", "res3.1.nonlocal_block"]) == ["res4.5", "res3.1"]
    assert names("all") == ["res3.1", "res3.3", "res4.1", "res4.3", "res4.5"]
    with pytest.raises(ValueError, match=r"no non-local block at 'res9'; there are: res3.1"):
        look(model, clip, (0, 0, 0), block="res9")
    with pytest.raises(ValueError, match="no non-local block to look through"):
        look(build("c2d_tiny", 2, width=2), clip, (0, 0, 0))


@pytest.mark.parametrize("at", [(8, 0, 0), (0, 64, 0), (0, 0, -1)])
def test_a_position_outside_the_clip_is_refused(at):
    with pytest.raises(ValueError, match="lies outside the clip: 8 frames of 64x64 px"):
        look(build("nl1_c2d_tiny", 2, width=2), torch.zeros(1, 3, 8, 64, 64), at)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("explain") / "disc.mp4"
    write_frames(path, render(scene(0, 0, "disc")), FPS)
    clip = ClipConfig(frames=4, stride=6, crop=64, short_side=(64, 64), test_short_side=128)
    model = build("nl1_c2d_tiny", 2, width=4).eval()
    return Classifier(model, ["disc", "ring"], clip, {}), path


def test_seconds_and_pixels_come_back_within_a_cell(example):
    classifier, path = example
    for frame, x, y in ((2, 10.0, 20.0), (CUT + 9, 40.0, 50.0)):
        found = explain(classifier, path, at=(frame / 10, x, y))
        assert found.frames.shape == (4, 2 * SIZE, 2 * SIZE, 3)
        seconds, right, down = found.to_video(found.look.query)
        assert seconds == pytest.approx(frame / 10, abs=0.01)
        assert abs(right - x) <= 2 and abs(down - y) <= 2, "cells are 8 px of the doubled frame"
        plain = found.as_dict()
        (seen,) = plain["looks"]
        assert len(seen["to"]) == 20 and seen["block"] == "res3.0"
        assert found.describe().startswith(f"{path}: ")


def test_the_middle_is_the_default_and_outside_is_refused(example):
    classifier, path = example
    assert explain(classifier, path).look.weights.shape == (20,)
    with pytest.raises(ValueError, match=r"lies outside the video: 3.30 s of 64x64 px"):
        explain(classifier, path, at=(9.0, 1, 1))


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    """96 frames of noise, and a network whose keys lie eight frames apart."""
    path = tmp_path_factory.mktemp("long") / "noise.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (96, 32, 48, 3), dtype=np.uint8))
    torch.manual_seed(0)
    model = build("nl5_i3d_r50", 2, width=4, scale=None).eval()
    clip = ClipConfig(frames=32, stride=2, crop=32, short_side=(32, 32), test_short_side=64)
    return Classifier(model, ["a", "b"], clip, {}), path


def test_looks_averaged_over_clips_are_the_mean_of_single_ones(long_video):
    classifier, path = long_video
    at = (48 / 30, 20.0, 10.0)
    found = explain(classifier, path, at, block="all", clips=3)
    assert found.clips == 3 and len(found.looks) == 5
    assert len(found.frames) == 32 + 2 * 8, "starts lie as far apart as the keys: eight kept frames"
    frame = int(np.abs(found.seconds - at[0]).argmin())
    for seen in found.looks:
        assert seen.row.sum() == pytest.approx(1, abs=1e-5)
        want = np.zeros_like(seen.row)
        for shift in (0, 8, 16):
            clip = torch.from_numpy(found.frames[shift : shift + 32])[None]
            x = to_input(clip, classifier.clip)
            # The middle of pixel (20, 10) of a frame shown at twice its size.
            (one,) = look(classifier.model, x, (frame - shift, 20.5, 40.5), block=seen.block)
            want[shift // 8 : shift // 8 + 4] += one.row / 3
        np.testing.assert_allclose(seen.row, want, rtol=1e-6)
        assert (np.diff(seen.centres[:, 0, 0, 0]) == 8).all()
        strongest = np.unravel_index(seen.row.argmax(), seen.row.shape)
        assert np.array_equal(seen.keys[0], seen.centres[strongest])


def test_as_many_clips_as_there_is_room_for(example, long_video):
    assert explain(*example, clips=50).clips < 50
    with pytest.raises(ValueError, match="clips must be 1 or more, got 0"):
        explain(*long_video, clips=0)


@pytest.mark.parametrize("kind", ["embedded_gaussian", "dot_product"])
@pytest.mark.parametrize("most", [10**9, 1_500])
def test_all_rows_are_the_rows_of_single_looks(kind, most):
    torch.manual_seed(0)
    model = build("nl5_c2d_r50", 4, width=4, kind=kind)
    clip = torch.randn(1, 3, 8, 64, 96)
    for rows in all_rows(model, clip, choose_blocks(model, "all"), most=most):
        t, y, x = (len(axis) // 2 for axis in rows.queries)
        place = tuple(float(a[i]) for a, i in zip(rows.queries, (t, y, x), strict=True))
        (seen,) = look(model, clip, place, block=rows.block)
        assert seen.query == place
        np.testing.assert_allclose(rows.weights[t, y, x], seen.row, rtol=1e-5, atol=1e-7)
        for axis, centres in zip(rows.keys, np.moveaxis(seen.centres, -1, 0), strict=True):
            assert set(axis) == set(centres.ravel())
        if kind == "embedded_gaussian":
            np.testing.assert_allclose(rows.weights.sum((3, 4, 5)), 1, atol=1e-5)


def test_rows_are_thinned_until_they_fit():
    model = build("nl5_c2d_r50", 4, width=2)
    clip = torch.randn(1, 3, 8, 64, 96)
    whole, thin = (
        all_rows(model, clip, choose_blocks(model, "all"), most=most) for most in (10**9, 1_500)
    )
    assert all(rows.step == 1 for rows in whole)
    assert sum(rows.weights.size for rows in whole) > 1_500
    assert sum(rows.weights.size for rows in thin) <= 1_500
    for full, rows in zip(whole, thin, strict=True):
        assert np.array_equal(full.queries[0], rows.queries[0]), "time is never thinned"
        for a, b in zip(full.queries[1:], rows.queries[1:], strict=True):
            assert set(b) <= set(a) and len(b) == -(-len(a) // rows.step)
