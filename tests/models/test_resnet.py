"""The networks are those of Table 1, start as their trunk, and are deterministic in eval."""

import pytest
import torch

import nonlocalnet as nln


def shapes_of(model, x):
    """Stage name -> (T, H, W, C) of its output, as Table 1 writes them."""
    seen = {}
    names = ("conv1", "pool1", "res2", "pool2", "res3", "res4", "res5")
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: seen.update({name: (*out.shape[2:], out.shape[1])})
        )
        for name in names
    ]
    with torch.no_grad():
        logits = model.eval()(x)
    for hook in hooks:
        hook.remove()
    return seen, logits


def test_table_1_row_by_row():
    """32 x 224 x 224 in; the sizes printed in the paper out."""
    seen, logits = shapes_of(nln.build("c2d_r50"), torch.zeros(1, 3, 32, 224, 224))
    assert seen == {
        "conv1": (16, 112, 112, 64),
        "pool1": (8, 56, 56, 64),
        "res2": (8, 56, 56, 256),
        "pool2": (4, 56, 56, 256),
        "res3": (4, 28, 28, 512),
        "res4": (4, 14, 14, 1024),
        "res5": (4, 7, 7, 2048),
    }
    assert logits.shape == (1, 400)


def test_the_released_layout_has_55_pixels_in_res2():
    seen, _ = shapes_of(nln.build("c2d_r50", preset="official"), torch.zeros(1, 3, 32, 224, 224))
    assert seen["res2"] == (8, 55, 55, 256)
    assert seen["res5"] == (4, 7, 7, 2048)


def conv_and_fc(model):
    return sum(p.numel() for p in model.parameters() if p.ndim > 1) / 1e6


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("c2d_r50", 24.27),
        ("nl1_c2d_r50", 26.37),
        ("nl5_c2d_r50", 31.61),
        ("nl10_c2d_r50", 38.95),
        ("c2d_r101", 43.21),
        ("i3d_r50", 27.99),
        ("nl5_i3d_r50", 35.33),
    ],
)
def test_parameters_are_the_papers(name, millions):
    """Table 2e counts convolution and fc weights; 43.2 M is the paper's C2D-R101."""
    assert conv_and_fc(nln.build(name, preset="official")) == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize(
    ("name", "ratio"), [("i3d333_r101", 1.46), ("i3d_r101", 1.20), ("nl5_c2d_r101", 1.17)]
)
def test_parameter_ratios_of_table_2e(name, ratio):
    base = conv_and_fc(nln.build("c2d_r101", preset="official"))
    assert conv_and_fc(nln.build(name, preset="official")) / base == pytest.approx(ratio, abs=0.01)


TINY = [name for name in nln.list_models() if name.endswith("tiny")]


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("shape", [(1, 32, 32), (4, 64, 64), (5, 48, 80)])
def test_any_clip_that_survives_the_strides(name, shape):
    torch.manual_seed(0)
    model = nln.build(name, 3).eval()
    x = torch.randn(2, 3, *shape)
    first = model(x)
    assert first.shape == (2, 3)
    assert torch.equal(first, model(x))
    dense = model(x, dense=True)
    assert dense.shape[:3] == (2, 3, 1)


def test_blocks_change_nothing_at_the_start():
    torch.manual_seed(0)
    plain = nln.build("c2d_tiny", 3)
    torch.manual_seed(0)
    nonlocal_ = nln.build("nl1_c2d_tiny", 3)
    x = torch.randn(2, 3, 4, 64, 64)
    assert torch.equal(plain.eval()(x), nonlocal_.eval()(x))
    torch.manual_seed(1)
    want = plain.train()(x)
    torch.manual_seed(1)
    assert torch.equal(want, nonlocal_.train()(x))


@pytest.mark.parametrize("preset", ["paper", "official", "mmaction2"])
@pytest.mark.parametrize("norm", ["batch", None])
def test_blocks_start_with_the_weights_of_their_preset(preset, norm):
    """The paper's text: He et al., variance 2 / fan-in; the released code: deviation 0.01."""
    block = nln.build("nl1_c2d_r50", preset=preset, norm=norm).get_submodule(
        "res4.4.nonlocal_block"
    )
    for conv in (block.theta, block.phi, block.g, block.w_z):
        spread = (2 / conv.in_channels) ** 0.5 if preset == "paper" else 0.01
        if conv is block.w_z and norm is None:
            spread = 0
        assert conv.weight.std().item() == pytest.approx(spread, rel=0.02)
        assert not conv.bias.any()


def test_dense_is_the_classifier_on_every_window():
    """A frame as large as a training crop has one window, and it is the ordinary answer."""
    torch.manual_seed(0)
    model = nln.build("nl1_i3d_tiny", 3, head_window=2).eval()
    x = torch.randn(1, 3, 4, 64, 64)
    torch.testing.assert_close(model(x, dense=True)[..., 0, 0, 0], model(x))
    wide = torch.randn(1, 3, 4, 64, 128)
    features = model.features(wide)
    dense = model(wide, dense=True)
    assert dense.shape == (1, 3, 1, 1, 3)
    for left in range(3):
        want = model.fc(features[..., left : left + 2].mean((2, 3, 4)))
        torch.testing.assert_close(dense[..., 0, 0, left], want)


def test_a_c2d_sees_frames_one_by_one():
    """Sec. 4: only pooling joins its frames, so their order is nothing to it (tiny: no pools)."""
    torch.manual_seed(0)
    x = torch.randn(1, 3, 6, 64, 64)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    c2d, i3d = nln.build("c2d_tiny", 3).eval(), nln.build("i3d_tiny", 3).eval()
    torch.testing.assert_close(c2d(x), c2d(x[:, :, order]))
    assert not torch.allclose(i3d(x), i3d(x[:, :, order]), atol=1e-4)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: nln.build("nl5_i3d_r5O"), "no model 'nl5_i3d_r5O'; nearest: nl5_i3d_r50"),
        (lambda: nln.build("c2d_r50", preset="caffe"), "no preset 'caffe'; choose one of paper"),
        (lambda: nln.build("c2d_r50", nonlocal_={"res3": (4,)}), r"after res3 \(4,\).*res3: 0..3"),
        (lambda: nln.build("c2d_r50", nonlocal_={"layer3": (1,)}), r"after layer3 \(1,\)"),
        (lambda: nln.build("c2d_r50", kind="gaussian"), "kind belong to non-local blocks"),
        (lambda: nln.build("nl1_c2d_r50", kinds="gaussian"), "no option 'kinds'; nearest: kind,"),
        (lambda: nln.build("c2d_r50", stride_1x1=True), "'stride_1x1'; nearest: stride_in_1x1"),
        (lambda: nln.build("c2d_r50", width=-8), r"width takes whole numbers .* got \(-8,\)"),
        (lambda: nln.build("c2d_r50", num_classes=2.5), r"num_classes takes .* got \(2.5,\)"),
        (lambda: nln.build("c2d_r50", depths=(3, 0, 6, 3)), r"depths takes .* got \(3, 0, 6, 3\)"),
        (lambda: nln.build("nl5_c2d_r50", nonlocal_={}), "asks for .* nonlocal_={} places none"),
        (lambda: nln.build("c2d_r50", nonlocal_={"res4": ()}), "c2d_r50 asks .* places none"),
    ],
)
def test_a_wrong_network_is_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize("frames", [2, 4, 8])
def test_gradients_in_bfloat16_hold_no_foreign_memory(frames):
    """A kernel longer than the clip got them from oneDNN, on processors with AVX-512."""
    torch.manual_seed(0)
    conv, clip = nln.build("i3d_tiny", 3, width=16).conv1, torch.randn(6, 3, frames, 32, 32)
    slope = torch.randn(conv(clip).shape)

    def leave() -> None:  # what memory may hold
        _ = [torch.full((size,), 1e30) for size in (1000, 5000, 5880, 20000, 10**5, 2**18, 2**20)]

    def gradient(half: bool) -> torch.Tensor:
        leave()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            y = conv(clip)
        leave()
        return torch.autograd.grad(y, conv.weight, slope.to(y.dtype))[0]

    exact = gradient(half=False)
    for _ in range(8):
        assert (gradient(half=True) - exact).norm() < 0.02 * exact.norm()


def test_state_dict_keys_are_a_contract():
    keys = set(nln.build("nl1_i3d_tiny", 3).state_dict())
    for name in ("conv1.weight", "bn1.running_var", "res2.0.downsample.0.weight", "fc.bias"):
        assert name in keys
    block = {k.removeprefix("res3.0.nonlocal_block.") for k in keys if "nonlocal_block" in k}
    assert block == {
        *(f"{conv}.{part}" for conv in ("theta", "phi", "g", "w_z") for part in ("weight", "bias")),
        *(f"norm.{p}" for p in ("weight", "bias", "running_mean", "running_var")),
        "norm.num_batches_tracked",
    }
