"""The inference form answers as the network: every kind, preset, inflation, extent, any clip."""

import copy

import pytest
import torch
from torch import nn

import nonlocalnet as nln
from nonlocalnet.models.zoo import PRESETS
from nonlocalnet.nn.inference import runs_onednn
from nonlocalnet.ops.pairwise import KINDS

TINY = [name for name in nln.list_models() if name.endswith("tiny")]
LARGE = [name for name in nln.list_models() if not name.endswith("tiny")]


def trained(name, preset="paper", **options):
    """A network whose every number shows: no zero scale, no unit statistics."""
    torch.manual_seed(0)
    model = nln.build(name, 5, preset, **options)
    rng = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1, generator=rng)
            module.running_var.uniform_(0.7, 1.5, generator=rng)
            module.weight.data.uniform_(0.4, 0.8, generator=rng)
            module.bias.data.normal_(0, 0.1, generator=rng)
        elif isinstance(module, nn.Conv3d) and module.bias is not None:
            module.bias.data.normal_(0, 0.1, generator=rng)
    return model.eval()


def check(model, *shapes):
    fast = nln.optimize(model)
    for shape in shapes:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        before = x.clone()
        with torch.no_grad():
            for dense in (False, True):
                want = model(x, dense=dense)
                assert want.std() > 0
                torch.testing.assert_close(fast(x, dense=dense), want, atol=1e-4, rtol=1e-4)
        assert torch.equal(x, before)


CLIPS = (2, 3, 6, 64, 64), (1, 3, 5, 72, 48), (1, 3, 1, 40, 40)


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize("name", TINY)
def test_tiny_networks_answer_the_same(name, preset):
    check(trained(name, preset), *CLIPS)


def test_statistics_of_blocks_are_refused():
    """The input that a block is asked about was overwritten by its output."""
    with pytest.raises(ValueError, match=r"overwrites the input .* ask the network it was made"):
        nln.block_stats(nln.optimize(trained("nl1_c2d_tiny")), torch.randn(1, 3, 2, 32, 32))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["nl5_c2d_r50", "nl5_i3d_r50", "nl5_i3d333_r50"])
def test_narrow_networks_with_temporal_strides_answer_the_same(name, preset):
    check(trained(name, preset, width=4), *CLIPS)


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_answers_the_same(kind, preset):
    # Ten dot products one after another are a polynomial of degree 3^10: keep them small.
    scale = 1e-3 if kind == "dot_product" else 1.0
    check(trained("nl10_i3d_r50", preset, width=4, kind=kind, scale=scale), *CLIPS)


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize(
    "options",
    [
        {"extent": "space"},
        {"extent": "time"},
        {"subsample": 1},
        {"subsample": 3},
        {"norm": None},
        {"inner_channels": 3},
        {"group_frames": 2},
        {"stride_in_1x1": True},
        {"pool1_ceil": True},
    ],
    ids=str,
)
def test_every_option_answers_the_same(options, preset):
    check(trained("nl5_i3d_r50", preset, width=8, **options), *CLIPS)


def test_many_positions_answer_the_same_without_storing_their_weights():
    check(trained("nl1_c2d_tiny", subsample=1), (2, 3, 6, 256, 128))


@pytest.mark.long
@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize("name", LARGE)
def test_the_networks_of_the_paper_answer_the_same(name, preset):
    check(trained(name, preset), (1, 3, 32, 224, 224), (2, 3, 8, 112, 160))


def test_the_network_stays_as_it_was():
    model = trained("nl1_i3d_tiny")
    before = copy.deepcopy(model.state_dict())
    fast = nln.optimize(model)
    x = torch.randn(1, 3, 4, 48, 48)
    answer = fast(x)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert nln.optimize(fast) is fast
    assert torch.equal(copy.deepcopy(fast)(x), answer)
    assert not fast.train().training


def test_a_form_without_prepared_layouts_answers_the_same():
    """What other devices and types run; double precision has no such layouts."""
    model = trained("nl1_i3d_tiny").double()
    x = torch.randn(2, 3, 4, 48, 48, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(nln.optimize(model)(x), model(x))


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # said by the switch, of other devices
def test_onednn_is_left_alone_where_it_is_switched_off():
    x = torch.zeros(1)
    with torch.backends.mkldnn.flags(enabled=False):
        assert not runs_onednn(x)
    assert runs_onednn(x) == torch.backends.mkldnn.is_available()


def test_what_it_cannot_take_is_said():
    with pytest.raises(ValueError, match=r"takes a network of .*, got a Linear"):
        nln.optimize(nn.Linear(2, 2))
    model = trained("c2d_tiny")
    nln.insert_nonlocal(model, at=["res3.0.conv1"], example=torch.zeros(1, 3, 2, 48, 48))
    with pytest.raises(ValueError, match=r"'res3.0.conv1' has a forward hook"):
        nln.optimize(model)
