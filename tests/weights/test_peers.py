"""Side by side: the same weights give the same logits in installed networks and in ours."""

import warnings

import pytest
import torch

import nonlocalnet as nln
from nonlocalnet.nn.block import NonLocalBlock
from nonlocalnet.weights.fit import TABLES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    mmcv = pytest.importorskip("mmcv.cnn.bricks.non_local")
    hub = pytest.importorskip("pytorchvideo.models.hub.resnet")
    nonlocal_net = pytest.importorskip("pytorchvideo.layers.nonlocal_net")
    torchvision = pytest.importorskip("torchvision.models")
    timm = pytest.importorskip("timm")


def randomise(module):
    """Random weights and statistics that keep a deep network's signal alive."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            noise = torch.randn(tensor.shape, generator=rng)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.ndim == 1:
                tensor.copy_(0.2 * noise + (name.endswith("weight") and 1.0))
            else:
                tensor.copy_(noise * (2 / tensor[0].numel()) ** 0.5)
    return module.eval()


def assert_close(got, want):
    assert want.std() > 0.1  # something comes out
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4 * float(want.abs().max()))


def renamed(state, source):
    """A state dict of pytorchvideo under the names of another source."""
    ours = {TABLES["pytorchvideo"].ours(name): tensor for name, tensor in state.items()}
    return {TABLES[source].theirs(name)[0]: tensor for name, tensor in ours.items()}


# Its builder can also be asked for the strides of others; that is an oracle for their layouts.
HUB = {
    "c2d": {"stem_conv_kernel_size": (1, 7, 7), "stage_conv_a_kernel_size": ((1, 1, 1),) * 4},
    "i3d": {
        "stem_conv_kernel_size": (5, 7, 7),
        "stage_conv_a_kernel_size": (
            (3, 1, 1),
            [(3, 1, 1), (1, 1, 1)],
            [(3, 1, 1), (1, 1, 1)],
            [(1, 1, 1), (3, 1, 1)],
        ),
    },
}
HALVED = {"stem_conv_stride": (2, 2, 2), "stem_pool_stride": (2, 2, 2)}
STRIDES = {"pytorchvideo": {}, "slowfast": {}, "mmaction2": HALVED, "gluoncv": HALVED}


@pytest.mark.parametrize("source", STRIDES)
@pytest.mark.parametrize("family", HUB)
def test_networks_of_four_layouts_against_pytorchvideo(tmp_path, source, family):
    frames, last = (16, 2) if STRIDES[source] else (4, 2)
    peer = hub.create_resnet(
        model_num_class=7,
        stage1_pool=torch.nn.MaxPool3d,
        head_pool_kernel_size=(last, 2, 2),
        **HUB[family],
        **STRIDES[source],
    )
    state = randomise(peer).state_dict()
    state = state if source == "pytorchvideo" else renamed(state, source)
    torch.save({"model_state": state}, tmp_path / "m.pyth")
    ours, report = nln.from_checkpoint(tmp_path / "m.pyth")
    assert (ours.config["name"], ours.config["preset"]) == (f"{family}_r50", source)
    assert report.source == source
    x = torch.randn(1, 3, frames, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_close(ours(x), peer(x))


@pytest.mark.long
@pytest.mark.parametrize("family", HUB)
def test_the_whole_networks_of_pytorchvideo(tmp_path, family):
    peer = randomise(getattr(hub, f"{family}_r50")())
    torch.save({"model_state": peer.state_dict()}, tmp_path / "m.pyth")
    ours, _ = nln.from_checkpoint(tmp_path / "m.pyth")
    x = torch.randn(1, 3, 8, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_close(ours(x), peer(x))


@pytest.mark.parametrize(
    ("name", "make", "source"),
    [
        ("c2d_r50", torchvision.resnet50, "torchvision"),
        ("c2d_r50", lambda: timm.create_model("resnet50"), "timm"),
        pytest.param("c2d_r101", torchvision.resnet101, "auto", marks=pytest.mark.long),
    ],
)
def test_an_inflated_image_network_says_of_a_still_clip_what_it_says_of_the_image(
    name, make, source
):
    peer = randomise(make())
    model = nln.build(name, 1000).eval()
    report = nln.load_pretrained(model, peer.state_dict(), source)
    kernels = {key for key, value in model.state_dict().items() if value.ndim == 5}
    assert set(report.inflated) == kernels
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_close(model(image[:, :, None].expand(-1, -1, 4, -1, -1)), peer(image))


@pytest.mark.parametrize("name", ["nl5_i3d_r50", "i3d333_r50"])
def test_inflated_kernels_sum_to_the_image_ones(name):
    """Sec. 4: each of the t planes is the 2-D kernel, rescaled by 1/t."""
    state = torchvision.resnet50().state_dict()
    model = nln.build(name, 1000, "official")
    report = nln.load_pretrained(model, state)
    for ours in report.inflated:
        kernel = model.state_dict()[ours]
        torch.testing.assert_close(kernel.sum(2), state[report.loaded[ours]])
        assert torch.equal(kernel, kernel[:, :, :1].expand_as(kernel))
    temporal = [k for k in report.inflated if model.state_dict()[k].shape[2] > 1]
    assert len(temporal) == 1 + 3 + 2 + 3 + 1
    blocks = {key for key in report.kept if "nonlocal_block" in key}
    assert len(blocks) == (60 if name.startswith("nl5") else 0)
    assert set(report.kept.values()) <= {"the source has no non-local blocks"}


def test_an_image_network_for_other_classes_leaves_the_head():
    model = nln.build("c2d_r50", 3)
    report = nln.load_pretrained(model, torchvision.resnet50().state_dict(), "torchvision")
    assert set(report.kept) == {"fc.weight", "fc.bias"}
    assert "1000 classes in the file, 3 in the network" in str(report)


SHAPES = {1: (2, 8, 9), 2: (2, 8, 7, 6), 3: (2, 8, 3, 6, 5)}
KINDS = ["gaussian", "embedded_gaussian", "dot_product", "concatenation"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("sub_sample", [False, True])
@pytest.mark.parametrize("norm", ["batch", None])
def test_blocks_of_mmcv_and_alexhex7(kind, ndim, sub_sample, norm):
    """AlexHex7's blocks are mmcv's without a scale, under other names."""
    block = getattr(mmcv, f"NonLocal{ndim}d")
    options = {"norm_cfg": {"type": f"BN{ndim}d"}} if norm else {}
    peer = block(8, mode=kind, sub_sample=sub_sample, use_scale=False, **options)
    state = randomise(peer).state_dict()
    ours = NonLocalBlock(
        8, ndim=ndim, kind=kind, subsample=2 if sub_sample else 1, scale=1.0, norm=norm
    ).eval()
    x = torch.randn(SHAPES[ndim], generator=torch.Generator().manual_seed(1))
    report = nln.load_pretrained(ours, state)
    assert report.source == "mmaction2"
    assert set(report.filled) == ({"w_z.bias"} if norm else set())
    with torch.no_grad():
        torch.testing.assert_close(ours(x), peer(x), rtol=1e-5, atol=1e-5)

    out = "W.0." if norm else "W."
    moved = {
        key.replace(".conv.", ".", 1)
        .replace("conv_out.bn.", "W.1.")
        .replace("conv_out.", out)
        .replace("concat_project.", "concat_project.0."): value
        for key, value in state.items()
    }
    if norm:
        moved["W.0.bias"] = torch.zeros(8)
    again = NonLocalBlock(
        8, ndim=ndim, kind=kind, subsample=2 if sub_sample else 1, scale=1.0, norm=norm
    ).eval()
    report = nln.load_pretrained(again, moved, "alexhex7")
    assert not report.filled
    with torch.no_grad():
        assert torch.equal(again(x), ours(x))


@pytest.mark.parametrize("missing", ["conv_out.conv.bias", "g.conv.bias", "theta.conv.weight"])
def test_a_block_without_a_tensor_is_refused(missing):
    state = mmcv.NonLocal3d(8).state_dict()
    del state[missing]
    with pytest.raises(ValueError, match=missing.replace(".", r"\.")):
        nln.load_pretrained(NonLocalBlock(8, norm=None), state)


@pytest.mark.parametrize("pool", [None, (1, 2, 2)])
def test_blocks_of_pytorchvideo(pool):
    peer = randomise(nonlocal_net.create_nonlocal(dim_in=8, dim_inner=4, pool_size=pool))
    ours = NonLocalBlock(8, subsample=2 if pool else 1, subsample_input=True).eval()
    nln.load_pretrained(ours, peer.state_dict(), "pytorchvideo")
    x = torch.randn(SHAPES[3], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), peer(x), rtol=1e-5, atol=1e-5)
