"""Batch norm frozen, folded and measured: what it computes, and what it may not do."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nonlocalnet.nn.batchnorm import ForgetfulBatchNorm, affine_bn, freeze_bn, precise_bn
from nonlocalnet.nn.block import NonLocalBlock
from nonlocalnet.nn.insert import insert_nonlocal


def net(dims=2):
    """Convolution, norm, ReLU, convolution, norm, a live block, dropout; statistics of no data."""
    torch.manual_seed(0)
    conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
    norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dims]
    block = NonLocalBlock(4, ndim=dims)
    layers = [conv(3, 6, 1), norm(6), nn.ReLU(), conv(6, 4, 1), norm(4), block, nn.Dropout(0.5)]
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, _BatchNorm):
                part.weight.uniform_(0.5, 2)
                part.bias.normal_()
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
    return model


def data(dims=2, batch=4, seed=1):
    return torch.randn(batch, 3, *(5, 4, 3)[:dims], generator=torch.Generator().manual_seed(seed))


def norms(model):
    return {name: part for name, part in model.named_modules() if isinstance(part, _BatchNorm)}


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_frozen_network_trains_as_it_evaluates(dims):
    model = net(dims)
    del model[6]  # the dropout
    before = copy.deepcopy(model.state_dict())
    want = model.eval()(data(dims))
    assert freeze_bn(model) == ["1", "4", "5.norm"]
    assert torch.equal(model.train()(data(dims)), want)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(model.state_dict()[name], old) for name, old in before.items())
    assert torch.equal(copy.deepcopy(model).train()(data(dims)), want)


class NormAct(nn.BatchNorm2d):
    """As timm's: batch norm and ReLU in one layer."""

    def forward(self, x):
        return super().forward(x).relu()


@pytest.mark.parametrize("freeze", [freeze_bn, affine_bn])
def test_what_a_norm_of_others_does_besides_stays(freeze):
    model = nn.Sequential(nn.Conv2d(3, 8, 1), NormAct(8)).eval()
    want = model(data())
    assert want.min() == 0
    for _ in range(2):
        freeze(model)
        torch.testing.assert_close(model.train()(data()), want)
        assert isinstance(copy.deepcopy(model)[1], NormAct)


@pytest.mark.parametrize("affine", [True, False])
def test_frozen_scales_train_only_when_asked(affine):
    model = net()
    parameters = list(model.parameters())
    freeze_bn(model, affine=affine)
    assert [id(p) for p in model.parameters()] == [id(p) for p in parameters]
    steps = torch.optim.SGD(parameters, lr=0.1)
    before = copy.deepcopy(model.state_dict())
    model.train()(data()).square().sum().backward()
    steps.step()
    moved = {name for name, new in model.state_dict().items() if not torch.equal(new, before[name])}
    of_norms = {f"{name}.{part}" for name in norms(model) for part in ("weight", "bias")}
    assert moved & of_norms == (set() if affine else of_norms)
    assert not any("running" in name or "batches" in name for name in moved)
    assert "0.weight" in moved


def test_a_fresh_block_is_never_frozen_at_zero():
    model = net()
    insert_nonlocal(model, at=["4"], example=data())
    with pytest.raises(ValueError, match=r"'4.nonlocal_block.norm' has scale zero.*norm=None"):
        freeze_bn(model)
    assert model.train()[1].training, "nothing was frozen"
    assert "4.nonlocal_block.norm" in freeze_bn(model, affine=False)
    assert model[4].nonlocal_block.norm.weight.requires_grad


def test_blocks_inserted_after_freezing_train():
    """The released 128-frame recipe: a frozen trunk, fresh blocks without batch norm."""
    model = net()
    freeze_bn(model)
    insert_nonlocal(model, at=["4"], example=data(), norm=None)
    insert_nonlocal(model, at=["1"], example=data())
    model.train()(data()).square().sum().backward()
    assert model[4].nonlocal_block.w_z.weight.grad.abs().max() > 0
    assert model[1].nonlocal_block.norm.training


def test_blocks_beside_a_frozen_norm_are_left_alone():
    model = net()
    insert_nonlocal(model, at=["4"], example=data())
    inserted = model[4].nonlocal_block
    assert freeze_bn(model, blocks=False) == ["1", "4"]
    assert all(parameter.requires_grad for parameter in inserted.parameters())
    assert not model[4].weight.requires_grad
    inserted.eval()
    model[4].train()
    assert inserted.training and not model[4].training


def plain_with_block():
    """A batch norm without scale and shift that owns parameters: those of a block."""
    model = nn.Sequential(nn.BatchNorm2d(3, affine=False))
    insert_nonlocal(model, at=["0"], example=data(), norm=None)
    return model


def shiftless():
    """A batch norm with a scale and no shift, as newer torch makes with bias=False."""
    norm = nn.BatchNorm2d(3)
    norm.bias = None  # type: ignore[assignment]
    return norm


@pytest.mark.parametrize(
    ("model", "call", "sentence"),
    [
        (nn.Conv2d(3, 3, 1), freeze_bn, "no batch norm, so nothing would be frozen"),
        (nn.Conv2d(3, 3, 1), lambda m: precise_bn(m, [data()]), "no batch norm whose statistics"),
        (net(), lambda m: precise_bn(m, []), "no batch reached a batch norm"),
        (nn.Sequential(nn.BatchNorm2d(3, affine=False)), affine_bn, "'0' has no scale and shift"),
        (plain_with_block(), affine_bn, "'0' has no scale and shift"),
        (nn.Sequential(shiftless()), affine_bn, "'0' has no scale and shift"),
        (
            nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)),
            freeze_bn,
            "'0' keeps no running statistics",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(model, call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(model)


def test_an_affine_network_gives_the_same_from_scale_and_shift_alone():
    model = net().double()
    want = model.eval()(data().double())
    keys = list(model.state_dict())
    assert affine_bn(model) == ["1", "4", "5.norm"]
    torch.testing.assert_close(model(data().double()), want)
    assert list(model.state_dict()) == keys
    x = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    scale, shift = model[1].weight[:, None, None], model[1].bias[:, None, None]
    torch.testing.assert_close(model.train()[1](x), scale * x + shift)


def test_precise_statistics_are_those_of_all_inputs_together():
    """Batches of unequal size; each norm against its own inputs, collected and concatenated."""
    model = net().train()
    batches = [data(batch=n, seed=n) + n for n in (2, 5, 3)]
    seen = {name: [] for name in norms(model)}
    watched = copy.deepcopy(model)
    for name, norm in norms(watched).items():
        norm.register_forward_hook(lambda _, x, __, name=name: seen[name].append(x[0]))
    with torch.no_grad():
        for batch in batches:
            watched(batch)
    assert precise_bn(model, iter(batches)) == list(seen)
    for name, inputs in seen.items():
        together = torch.cat(inputs).transpose(0, 1).flatten(1)
        norm = norms(model)[name]
        torch.testing.assert_close(norm.running_mean, together.mean(1))
        torch.testing.assert_close(norm.running_var, together.var(1))
    first = torch.cat(batches)  # the first norm sees what one large batch would show it
    torch.testing.assert_close(norms(model)["1"].running_mean, model[0](first).mean((0, 2, 3)))


def test_one_precise_batch_is_a_step_of_momentum_one():
    model, usual = net(), net()
    for norm in norms(usual).values():
        norm.momentum = 1.0
    usual.train()(data())
    precise_bn(model, [data()])
    for name, norm in norms(model).items():
        torch.testing.assert_close(norm.running_mean, norms(usual)[name].running_mean)
        torch.testing.assert_close(norm.running_var, norms(usual)[name].running_var)


def test_measuring_leaves_everything_else_as_it_was():
    model = net()
    model.train()
    model[1].eval()
    freeze_bn(model[4])
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    modes = [part.training for part in model.modules()]
    assert precise_bn(model, [(data(),)]) == ["1", "5.norm"]
    changed = {k for k, new in model.state_dict().items() if not torch.equal(new, before[k])}
    assert changed == {f"{n}.running_{s}" for n in ("1", "5.norm") for s in ("mean", "var")}
    assert [part.training for part in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert (model[1].momentum, model[1].num_batches_tracked.item()) == (0.1, 0)
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_a_forgetful_norm_keeps_its_statistics():
    model = net().train()
    before = copy.deepcopy(model.state_dict())
    with ForgetfulBatchNorm(model):
        model(data())
    assert all(torch.equal(new, before[name]) for name, new in model.state_dict().items())
    model(data())
    assert not torch.equal(model[1].running_mean, before["1.running_mean"])
