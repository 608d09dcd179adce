"""Side by side: the same weights give the same logits in installed networks and in ours."""

import itertools
import pickle
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


# pytorchvideo's builder can be asked for the strides of others, and its pool be replaced: that is
# an oracle for the layouts of those that cannot be installed.
FAMILY = {
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
POOL1 = {  # stride of conv1 in time, and the pool after it
    "pytorchvideo": (1, ((1, 3, 3), (1, 2, 2), (0, 1, 1))),
    "slowfast": (1, ((1, 3, 3), (1, 2, 2), (0, 1, 1))),
    "mmaction2": (2, ((1, 3, 3), (2, 2, 2), (0, 1, 1))),
    "gluoncv": (2, ((1, 3, 3), (2, 2, 2), (0, 1, 1))),
    "official": (2, ((2, 3, 3), (2, 2, 2), (0, 0, 0))),
    "official_8x8": (1, ((1, 3, 3), (1, 2, 2), (0, 0, 0))),
}
BLOCKS = {"res3": (1, 3), "res4": (1, 3, 5)}


def peer_network(family, layout, make_block=None, loudness=0.25):
    """A ResNet-50 of another project for 64 px, and its state dict under our names."""
    stride, pool = POOL1[layout]
    peer = hub.create_resnet(
        model_num_class=7,
        stem_conv_stride=(stride, 2, 2),
        stage1_pool=torch.nn.MaxPool3d,
        head_pool_kernel_size=(2, 2, 2),
        **FAMILY[family],
    )
    peer.blocks[0].pool = torch.nn.MaxPool3d(*pool)
    state = randomise(peer).state_dict()
    state = {TABLES["pytorchvideo"].ours(name): tensor for name, tensor in state.items()}
    if make_block is None:
        return peer, state, {}
    blocks = {}
    for stage, places in BLOCKS.items():
        for index in places:
            block = make_block(256 * 2 ** (int(stage[3]) - 2))
            randomise(block)
            for name, tensor in block.named_parameters():
                if "theta" in name or "phi" in name:
                    tensor.data *= loudness  # or rows look at one place, or dots overflow
            host = peer.blocks[int(stage[3])].res_blocks[index]
            host.register_forward_hook(lambda _, __, y, block=block: block(y))
            blocks[f"{stage}.{index}.nonlocal_block."] = block
    return peer, state, blocks


def same_logits(tmp_path, peer, state, source, layout, frames, **options):
    file = tmp_path / "m"
    if source == "caffe2":
        arrays = {key: value.numpy() for key, value in state.items() if "num_batches" not in key}
        file.write_bytes(pickle.dumps({"blobs": arrays}, protocol=2))
    else:
        torch.save(state, file)
    ours, report = nln.from_checkpoint(file, **options)
    assert (ours.config["preset"], report.source) == (layout, source)
    x = torch.randn(1, 3, frames, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_close(ours(x), peer(x))
    return ours


QUICK = {("c2d", "pytorchvideo"), ("i3d", "official_8x8")}  # the others have a trunk with blocks
NETWORKS = [
    pytest.param(*pair, marks=[] if pair in QUICK else pytest.mark.long)
    for pair in itertools.product(FAMILY, POOL1)
]


@pytest.mark.parametrize(("family", "layout"), NETWORKS)
def test_networks_of_every_layout(tmp_path, family, layout):
    source = layout if layout in TABLES else "caffe2"
    peer, ours, _ = peer_network(family, layout)
    state = {
        names[0]: value for name, value in ours.items() if (names := TABLES[source].theirs(name))
    }
    frames = 16 if POOL1[layout][0] == 2 else 4
    options = {"preset": layout} if layout == "official_8x8" else {}
    network = same_logits(tmp_path, peer, state, source, layout, frames, **options)
    assert network.config["name"] == f"{family}_r50"


@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        ("official", "embedded_gaussian"),
        pytest.param("official", "dot_product", marks=pytest.mark.long),
        pytest.param("official_8x8", "embedded_gaussian", marks=pytest.mark.long),
        pytest.param("slowfast", "embedded_gaussian", marks=pytest.mark.long),
        ("slowfast", "dot_product"),
        ("gluoncv", "embedded_gaussian"),
        pytest.param("mmaction2", "embedded_gaussian", marks=pytest.mark.long),
        ("mmaction2", "gaussian"),
        pytest.param("mmaction2", "dot_product", marks=pytest.mark.long),
        pytest.param("mmaction2", "concatenation", marks=pytest.mark.long),
    ],
)
def test_five_blocks_in_every_layout(tmp_path, layout, kind):
    """mmcv's blocks in mmaction2's layout, pytorchvideo's, which PySlowFast shares, elsewhere."""
    source = layout if layout in TABLES else "caffe2"
    table = TABLES[source]

    def make_block(channels):
        if source == "mmaction2":
            norm = {"type": "BN3d"}
            return mmcv.NonLocal3d(
                channels, mode=kind, sub_sample=True, use_scale=False, norm_cfg=norm
            )
        return nonlocal_net.create_nonlocal(
            dim_in=channels,
            dim_inner=channels // 2,
            pool_size=None if source == "gluoncv" else (1, 2, 2),
            instantiation="dot_product" if kind == "dot_product" else "softmax",
        )

    loudness = 0.003 if kind == "dot_product" else 0.25
    peer, ours, blocks = peer_network("i3d", layout, make_block, loudness)
    inside = TABLES["mmaction2" if source == "mmaction2" else "pytorchvideo"]
    for place, block in blocks.items():
        for name, tensor in block.state_dict().items():
            ours[place + str(inside.ours(name, bare=True))] = tensor
    state = {names[0]: value for name, value in ours.items() if (names := table.theirs(name))}
    options = {"preset": layout} if layout == "official_8x8" else {}
    options |= {"kind": kind} if kind == "dot_product" else {}
    frames = 16 if POOL1[layout][0] == 2 else 4
    network = same_logits(tmp_path, peer, state, source, layout, frames, **options)
    assert network.config["name"] == "nl5_i3d_r50"
    inserted = nln.nonlocal_blocks(network)
    assert {block.kind for block in inserted.values()} == {kind}
    x = torch.randn(1, 3, frames, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = network(x)
        for block in inserted.values():  # so that an affinity of another kind would have shown
            if block.embeds:
                block.theta.weight.neg_()
            else:
                block.scale = -1.0
        assert (network(x) - before).abs().max() > 0.02 * before.abs().max()


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILY)
def test_the_whole_networks_of_pytorchvideo(tmp_path, family):
    peer = randomise(getattr(hub, f"{family}_r50")())
    torch.save({"model_state": peer.state_dict()}, tmp_path / "m.pyth")
    ours, _ = nln.from_checkpoint(tmp_path / "m.pyth")
    x = torch.randn(1, 3, 8, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_close(ours(x), peer(x))


def test_inflated_kernels_sum_to_the_image_ones():
    """Sec. 4: each of the t planes is the 2-D kernel, rescaled by 1/t; logits: test_inflation."""
    state = torchvision.resnet50().state_dict()
    model = nln.build("nl5_i3d_r50", 1000, "official")
    report = nln.load_pretrained(model, state)
    for ours in report.inflated:
        kernel = model.state_dict()[ours]
        torch.testing.assert_close(kernel.sum(2), state[report.loaded[ours]])
        assert torch.equal(kernel, kernel[:, :, :1].expand_as(kernel))
    temporal = [k for k in report.inflated if model.state_dict()[k].shape[2] > 1]
    assert len(temporal) == 1 + 3 + 2 + 3 + 1
    blocks = {key for key in report.kept if "nonlocal_block" in key}
    assert len(blocks) == 60
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
