"""The exported graph answers as the network: every kind, preset and extent, at three sizes."""

import onnx
import pytest
import torch
from torch import nn

import nonlocalnet as nln
from nonlocalnet.engine.onnx_runtime import OnnxNetwork
from nonlocalnet.models.zoo import PRESETS
from nonlocalnet.ops.pairwise import KINDS
from nonlocalnet.weights.onnx_file import to_onnx

CLIPS = (2, 3, 6, 64, 64), (1, 3, 5, 72, 136), (1, 3, 1, 48, 40)
TINY = [name for name in nln.list_models() if name.endswith("tiny")]


def trained(name, preset="paper", **options):
    """A network whose every number shows: no zero scale, no unit statistics."""
    torch.manual_seed(0)
    model = nln.build(name, 5, preset, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.7, 1.5)
            module.weight.data.uniform_(0.4, 0.8)
            module.bias.data.normal_(0, 0.1)
        elif isinstance(module, nn.Conv3d) and module.bias is not None:
            module.bias.data.normal_(0, 0.1)
    return model.eval()


def check(model, *shapes):
    content = to_onnx(model, {"labels": list("abcde")})
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    network = OnnxNetwork(content)
    assert network.metadata == {"labels": list("abcde")}
    for shape in shapes:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            for dense in (False, True):
                want = model(x, dense=dense)
                torch.testing.assert_close(network(x, dense=dense), want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize("name", TINY)
def test_tiny_networks_answer_the_same(name, preset):
    check(trained(name, preset), *CLIPS)


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_answers_the_same(kind, preset):
    scale = 1e-3 if kind == "dot_product" else 1.0
    check(trained("nl5_i3d_r50", preset, width=4, kind=kind, scale=scale), *CLIPS)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_answers_the_same(preset):
    check(trained("nl5_i3d333_r50", preset, width=4), *CLIPS)


@pytest.mark.parametrize(
    "options",
    [
        {"extent": "space"},
        {"extent": "time"},
        {"subsample": 3},
        {"norm": None, "group_frames": None},
        {"inner_channels": 3},
        {"stride_in_1x1": True},
        {"pool1_ceil": True},
    ],
    ids=str,
)
def test_every_option_answers_the_same(options):
    check(trained("nl5_i3d_r50", "official", width=8, **options), *CLIPS)


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize("kind", ["gaussian", "embedded_gaussian"])
def test_axes_shorter_than_the_window_are_not_pooled(kind, preset):
    """Cells of the block's map: 2 x 3, 3 x 2 and 1 x 7."""
    model = trained("nl1_c2d_tiny", preset, kind=kind, subsample=3)
    check(model, (2, 3, 2, 16, 24), (1, 3, 2, 24, 16), (1, 3, 1, 8, 56))


@pytest.mark.long
@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize("name", ["nl5_c2d_r50", "nl5_i3d_r50"])
def test_the_networks_of_the_paper_answer_the_same(name, preset):
    check(trained(name, preset), (1, 3, 32, 224, 224), (2, 3, 8, 112, 160), (1, 3, 16, 128, 128))


def test_groups_of_frames_are_refused():
    with pytest.raises(ValueError, match="group_frames=4 cannot be exported"):
        to_onnx(trained("nl1_c2d_tiny", "official", norm=None), {})


def test_only_standard_operators_are_used():
    graph = onnx.load_from_string(to_onnx(trained("nl1_i3d_tiny", kind="concatenation"), {}))
    assert {node.domain for node in graph.graph.node} == {""}
