"""Blocks inserted into other people's networks: outputs, keys, modes and the way back."""

import copy
import io

import pytest
import timm
import torch
import torchvision
from torch import nn

from nonlocalnet.nn.block import NonLocalBlock
from nonlocalnet.nn.insert import insert_nonlocal, nonlocal_blocks, remove_nonlocal


class UNet(nn.Module):
    """Down, up, and a skip joined by concatenation."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.out = nn.Conv2d(9, 4, 1)

    def forward(self, x):
        return self.out(torch.cat([x, self.up(self.down(x))], dim=1))


class FPN(nn.Module):
    """Two levels, one lateral layer shared by both, a dict out."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.next = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.lateral = nn.Conv2d(8, 6, 1)

    def forward(self, x):
        fine = self.stem(x)
        coarse = self.lateral(self.next(fine))
        fine = self.lateral(fine) + nn.functional.interpolate(coarse, size=fine.shape[-2:])
        return {"fine": fine, "coarse": coarse}


def one_d():
    return nn.Sequential(nn.Conv1d(2, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 4, 1))


def image(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


HOSTS = {
    "resnet50": (lambda: torchvision.models.resnet50(), ["layer3.4", "layer2"], (2, 3, 64, 64)),
    "r3d_18": (lambda: torchvision.models.video.r3d_18(), ["layer2.1"], (2, 3, 4, 32, 32)),
    "timm_resnet": (lambda: timm.create_model("resnet18"), ["layer3.0"], (2, 3, 64, 64)),
    "convnext": (
        lambda: timm.create_model("convnext_atto"),
        ["stages.2.blocks.1", "stages.1"],
        (2, 3, 64, 64),
    ),
    "one_d": (one_d, ["2"], (2, 2, 20)),
    "unet": (UNet, ["down", "up"], (2, 3, 16, 16)),
    "fpn": (FPN, ["lateral", "stem"], (2, 3, 16, 16)),
}


@pytest.fixture(params=HOSTS)
def host(request):
    make, at, shape = HOSTS[request.param]
    torch.manual_seed(0)
    return make(), at, image(*shape)


def outputs(model, x, training):
    """The model's output in one mode, on a copy: statistics of batch norm stay as they are."""
    torch.manual_seed(1)
    return copy.deepcopy(model).train(training)(x)


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    return torch.equal(a, b)


def test_insertion_changes_no_output_and_removal_restores_the_tree(host):
    model, at, x = host
    tree, keys = str(model), list(model.state_dict())
    before = {mode: outputs(model, x, mode) for mode in (True, False)}
    names = insert_nonlocal(model, at, x)
    assert list(nonlocal_blocks(model)) == sorted(names, key=list(nonlocal_blocks(model)).index)
    assert len(names) == len(at)
    assert [key for key in model.state_dict() if "nonlocal_block" not in key] == keys
    for mode, want in before.items():
        assert same(outputs(model, x, mode), want)
    assert set(remove_nonlocal(model)) == set(names)
    assert str(model) == tree
    assert list(model.state_dict()) == keys
    assert all(not module._forward_hooks for module in model.modules())
    for mode, want in before.items():
        assert same(outputs(model, x, mode), want)


def test_state_dicts_load_both_ways(host):
    model, at, x = host
    old = {key: value.clone() for key, value in model.state_dict().items()}
    insert_nonlocal(model, at, x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    blocks = {name: copy.deepcopy(block) for name, block in nonlocal_blocks(model).items()}
    model.load_state_dict(old)  # strict
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in old.items())
    for name, block in blocks.items():
        held = nonlocal_blocks(model)[name].state_dict()
        assert all(torch.equal(value, held[key]) for key, value in block.state_dict().items())
    new = model.state_dict()
    remove_nonlocal(model)
    report = model.load_state_dict(new, strict=False)
    assert report.missing_keys == []
    assert report.unexpected_keys == [key for key in new if "nonlocal_block" in key]


def test_a_checkpoint_with_part_of_a_block_does_not_load():
    model = one_d()
    insert_nonlocal(model, ["2"], image(1, 2, 20))
    state = model.state_dict()
    del state["2.nonlocal_block.g.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*2\.nonlocal_block\.g\.weight"):
        model.load_state_dict(state)


def test_the_dry_run_leaves_modes_statistics_and_random_state(host):
    model, at, x = host
    model.train()
    next(model.children()).eval()
    modes = {name: module.training for name, module in model.named_modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    torch.manual_seed(3)
    insert_nonlocal(model, at, x)
    torch.manual_seed(3)
    for block in nonlocal_blocks(model).values():
        # The block's own draws are the only ones: repeat them and compare what comes next.
        NonLocalBlock(block.channels, ndim=block.ndim)
    for name, mode in modes.items():
        assert model.get_submodule(name).training is mode
    for name, buffer in buffers.items():
        assert torch.equal(model.get_buffer(name), buffer)


def test_the_dry_run_draws_no_random_number():
    draws = []
    for dropped in (0.0, 0.5):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.Dropout(dropped), nn.RReLU())
        insert_nonlocal(model, ["0"], image(1, 2, 5))
        draws.append(torch.rand(3))
    assert torch.equal(*draws)


def test_copies_run_their_own_block():
    model = one_d()
    x = image(2, 2, 20)
    insert_nonlocal(model, ["2"], x)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        nonlocal_blocks(model)["2.nonlocal_block"].norm.weight.fill_(1)
    assert torch.equal(twin(x), one_d_like(twin, x))
    assert not torch.equal(model(x), twin(x))
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    assert torch.equal(loaded.eval()(x), model.eval()(x))


def one_d_like(model, x):
    plain = copy.deepcopy(model)
    remove_nonlocal(plain)
    return plain(x)


def test_options_mode_type_and_place_follow():
    model = one_d().double().eval()
    insert_nonlocal(model, ["0"], image(1, 2, 20).double(), kind="dot_product", inner_channels=3)
    block = nonlocal_blocks(model)["0.nonlocal_block"]
    assert (block.kind, block.inner_channels, block.channels, block.ndim) == (
        "dot_product",
        3,
        8,
        1,
    )
    assert block.g.weight.dtype == torch.float64
    assert not block.training


def test_compiles_as_one_graph():
    model = one_d().eval()
    x = image(2, 2, 20)
    insert_nonlocal(model, ["2"], x)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))


def test_removal_leaves_blocks_that_a_network_calls_itself():
    class BuiltIn(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(2, 4, 1)
            self.nonlocal_block = NonLocalBlock(4, ndim=1)

        def forward(self, x):
            return self.nonlocal_block(self.conv(x))

    model = BuiltIn()
    insert_nonlocal(model, ["conv"], image(1, 2, 6))
    assert list(nonlocal_blocks(model)) == ["conv.nonlocal_block", "nonlocal_block"]
    assert remove_nonlocal(model) == ["conv.nonlocal_block"]
    assert list(nonlocal_blocks(model)) == ["nonlocal_block"]
    with pytest.raises(ValueError, match="has a 'nonlocal_block' of its own"):
        insert_nonlocal(model, [""], image(1, 2, 6))


class Odd(nn.Module):
    """Layers whose outputs are no feature maps."""

    def __init__(self):
        super().__init__()
        self.map = nn.Conv2d(3, 4, 1)
        self.pair = Pair()
        self.tokens = nn.Linear(4, 5)
        self.last = nn.LayerNorm(4)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.unused = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        x = self.map(x)
        self.pair(x)
        self.last(x.permute(0, 2, 3, 1))
        return self.tokens(x.flatten(2).mT).mean(1)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ([], "at is empty, so no block would be inserted"),
        ("map", r"list of layer names, got the text 'map'; write \['map'\]"),
        (["mop"], "no layer 'mop'; nearest: map, "),
        (["map", "map"], r"\['map', 'map'\] names a layer twice"),
        (["pair"], r"'pair' gives a tuple; .*Nearest layers that give one: map \(2, 4, 6, 7\)"),
        (["tokens"], r"'tokens' gives tokens \(2, 42, 5\)"),
        (["last"], r"'last' gives a channel-last map \(2, 6, 7, 4\)"),
        ([""], r"layer '' gives a tensor \(2, 5\) of torch.float32"),
        (["unused"], "'unused' gives nothing: it did not run on the example"),
    ],
)
def test_errors_list_names_and_shapes(at, message):
    model = Odd()
    with pytest.raises(ValueError, match=message):
        insert_nonlocal(model, at, image(2, 3, 6, 7))
    assert nonlocal_blocks(model) == {}
    assert all(not module._forward_hooks for module in model.modules())


def test_joined_branches_are_a_map_even_as_wide_as_the_last_of_them():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 5, 1), nn.Conv2d(3, 7, 1)

        def forward(self, x):
            return torch.cat([self.left(x), self.right(x)], dim=1)

    model = nn.Sequential(Joined(), nn.ReLU())
    assert insert_nonlocal(model, ["0"], image(2, 3, 6, 7)) == ["0.nonlocal_block"]
    assert model[0].nonlocal_block.channels == 12


class Boasting(nn.Module):
    """Says how many channels it gives, as torchvision's backbones do, and is no layer itself."""

    def __init__(self):
        super().__init__()
        self.out_channels = 7
        self.conv = nn.Conv1d(3, 3, 1)

    def forward(self, x):
        return self.conv(x)


@pytest.mark.parametrize(
    "layer",
    [nn.Conv1d(3, 3, 1), nn.BatchNorm1d(3), nn.GroupNorm(1, 3), Boasting()],
)
def test_the_last_layer_that_knows_its_width_tells_channels_from_places(layer):
    """After a linear layer as wide as the map is long, whose output is tokens."""
    model = nn.Sequential(nn.ReLU(), nn.Linear(6, 7), nn.ReLU(), layer)
    assert insert_nonlocal(model, ["3"], image(2, 3, 6)) == ["3.nonlocal_block"]
    for at in ("1", "2"):
        with pytest.raises(ValueError, match=rf"'{at}' gives tokens \(2, 3, 7\)"):
            insert_nonlocal(model, [at], image(2, 3, 6))


def test_one_bad_name_inserts_nothing():
    model = Odd()
    with pytest.raises(ValueError, match="gives a tuple"):
        insert_nonlocal(model, ["map", "pair"], image(2, 3, 6, 7))
    assert nonlocal_blocks(model) == {}


@pytest.mark.parametrize("at", ["", "1", "1.2"])
def test_a_sequential_stands_for_its_last_layer_however_deep(at):
    inner = nn.Sequential(
        nn.Conv1d(3, 4, 1), nn.ReLU(), nn.Sequential(nn.ReLU(), nn.Conv1d(4, 5, 1))
    )
    model = nn.Sequential(nn.ReLU(), inner)
    assert insert_nonlocal(model, [at], image(2, 3, 6)) == ["1.2.1.nonlocal_block"]
    assert list(nonlocal_blocks(model)) == ["1.2.1.nonlocal_block"]
    assert remove_nonlocal(model) == ["1.2.1.nonlocal_block"]


def test_a_model_of_one_layer_takes_a_block_under_its_plain_name():
    model = nn.Conv1d(3, 4, 1)
    assert insert_nonlocal(model, [""], image(2, 3, 6)) == ["nonlocal_block"]
    assert list(nonlocal_blocks(model)) == remove_nonlocal(model) == ["nonlocal_block"]


@pytest.mark.parametrize(
    ("layers", "at"),
    [
        ([torchvision.models.densenet121().features], "1.denseblock1"),
        ([torchvision.models.segmentation.deeplabv3.ASPPPooling(3, 4)], "1"),
        ([nn.Conv2d(3, 4, 1), nn.Sequential()], "2"),
    ],
)
def test_a_layer_that_runs_whatever_children_it_has_takes_no_block(layers, at):
    """It would run the block as one of them, and the hook would once more."""
    model = nn.Sequential(nn.ReLU(), *layers).eval()
    x = image(2, 3, 32, 32)
    assert insert_nonlocal(model, ["0"], x) == ["0.nonlocal_block"]
    keys = list(model.state_dict())
    with pytest.raises(ValueError, match=f"'{at}' runs whatever children it has"):
        insert_nonlocal(model, [at], x)
    assert list(model.state_dict()) == keys
    assert list(nonlocal_blocks(model)) == ["0.nonlocal_block"]


def test_a_layer_that_only_moves_the_axes_of_a_convolution_gives_a_channel_last_map():
    class ChannelLast(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    model = nn.Sequential(nn.Conv2d(3, 5, 1), ChannelLast())
    with pytest.raises(ValueError, match=r"'1' gives a channel-last map \(2, 6, 7, 5\)"):
        insert_nonlocal(model, ["1"], image(2, 3, 6, 7))
    shuffle = nn.Sequential(nn.Conv2d(3, 32, 1), nn.PixelShuffle(2))
    assert insert_nonlocal(shuffle, ["1"], image(2, 3, 16, 16)) == ["1.nonlocal_block"]


def test_an_error_names_at_most_three_layers():
    model = nn.Sequential(*(nn.Conv1d(3, 3, 1) for _ in range(6)), nn.Flatten())
    for at, layers in (("7", "nearest: "), ("6", "that give one: ")):
        with pytest.raises(ValueError, match=layers) as caught:
            insert_nonlocal(model, [at], image(2, 3, 6))
        assert len(str(caught.value).split(layers)[1].replace(" (2, 3, 6)", "").split(", ")) == 3
    with pytest.raises(ValueError, match=r"Nearest layers that give one: none$"):
        insert_nonlocal(nn.Sequential(nn.Flatten()), ["0"], image(2, 3, 6))
