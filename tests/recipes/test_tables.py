"""The recipes are the paper's systems: its figures, its networks, its settings, its chains."""

import inspect
import re
from dataclasses import asdict
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.recipes import charades, kinetics
from nonlocalnet.recipes.rehearse import rehearse, rehearse_all
from nonlocalnet.recipes.tables import TABLES, all_recipes, recipe_named

PAPER = Path(__file__).parents[3] / "shared" / "paper" / "non-local-neural-networks.txt"
SHORT = [name for name, recipe in all_recipes().items() if recipe.clip.frames == 32]
LONG = [name for name in all_recipes() if name.endswith("_128f")]
CHARADES = [name for name, recipe in all_recipes().items() if recipe.multi_label]

PRINTED = {
    "2a": "71.8 89.7  72.5 90.2  72.7 90.5  72.9 90.3  72.8 90.5",
    "2b": "71.8 89.7  72.7 90.3  72.9 90.4  72.7 90.5  72.3 90.1",
    "2c": "71.8 89.7  72.7 90.5  73.8 91.0  74.3 91.2  73.1 91.0  74.3 91.3  75.1 91.7  75.1 91.6",
    "2d": "71.8 89.7  72.9 90.8  73.1 90.5  73.8 91.0  73.1 91.0  74.4 91.3  74.4 90.5  75.1 91.7",
    "2e": "73.1 91.0  74.1 91.2  74.4 91.1  75.1 91.7",
    "2f": "71.8 89.7  73.3 90.7  74.9 91.6  73.1 91.0  74.4 91.1  76.0 92.1",
    "2g": "73.8 91.2  74.9 91.7  76.5 92.6  75.3 91.8  76.4 92.7  77.7 93.3",
    "3": "72.1 90.3 71.1 89.3 80.2  75.7 92.0 74.2 91.3 82.8  73.0 90.9  74.9 91.6  77.1 93.2  "
    "77.7 93.2  76.5 92.6  77.7 93.3 83.8",
    "4": "18.6  17.8  22.4  32.9  34.4  35.5  37.2  37.5  39.5",
}
"""Row by row; two spaces between rows."""


@pytest.mark.parametrize("name", TABLES)
def test_the_figures_are_the_printed_ones(name):
    table = TABLES[name]
    rows = [[str(r.published[c]) for c in table.columns if c in r.published] for r in table.rows]
    assert rows == [row.split() for row in PRINTED[name].split("  ")]


def test_the_printed_figures_are_those_of_the_text():
    if not PAPER.exists():
        pytest.skip(f"needs the paper's text at {PAPER}")
    text = PAPER.read_text(encoding="utf-8")

    def lines(begin: str, end: str) -> list[list[str]]:
        part = text[text.index(begin) : text.index(end, text.index(begin))]
        return [found for line in part.splitlines() if (found := re.findall(r"\d\d\.\d", line))]

    def rows(table: str) -> list[list[str]]:
        return [row.split() for row in PRINTED[table].split("  ")]

    both = lines("model, R50\ttop-1", "(a) Instantiations")  # top-1 of 2b stands beside 2a
    assert [line[:2] for line in both] == rows("2a")
    (top5,) = lines("entries are with ResNet-50.\n", "model\t\ttop-1")
    assert [[line[2], other] for line, other in zip(both, top5, strict=True)] == rows("2b")
    assert lines("model\t\ttop-1", "(c) **Deeper") == rows("2c")
    assert lines("(c) **Deeper", "(d) **Space") == rows("2d")
    assert lines("model, R101\tparams", "(e) Non-local") == rows("2e")
    assert lines("\tmodel\ttop-1", "(f) Non-local") == rows("2f")
    scrambled = [*chain(*lines("(f) Non-local", "(g) **Longer")), "74.9"]  # "74 9" there
    assert sorted(scrambled) == sorted(PRINTED["2g"].split())
    assert lines("model\tbackbone", "Table 3.") == rows("3")
    assert [*chain(*lines("model\tmodality", "Table 4."))] == PRINTED["4"].split()


def test_every_system_has_one_function_and_stands_in_a_table():
    functions = [
        function
        for module in (kinetics, charades)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    ]
    assert {f.__name__: f() for f in functions} == all_recipes()
    assert len(all_recipes()) == 23 + 6 + 4
    rows = [row for table in TABLES.values() for row in table.rows if row.recipe]
    assert all(row.recipe == recipe_named(row.recipe.name) for row in rows)
    for name, table in TABLES.items():
        for row in table.rows:
            assert row.recipe is None or re.search(rf"\b{name}\b", row.recipe.source), row.words


def test_no_system_stands_there_twice():
    seen = {}
    for name, recipe in all_recipes().items():
        settings = asdict(recipe)
        for word in ("name", "published", "source"):
            del settings[word]
        seen.setdefault(repr(settings), []).append(name)
    same = [names for names in seen.values() if len(names) > 1]  # those differ in their data
    assert same == [[name, f"{name}_trainval"] for name in CHARADES if "trainval" not in name]


@cache
def network(name):
    with torch.device("meta"):
        return all_recipes()[name].model.build()


def places(name) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for path in nonlocal_blocks(network(name)):
        stage, block = path.split(".")[:2]
        found.setdefault(stage, []).append(int(block))
    return found


def test_one_block_stands_right_before_the_last_residual_block():
    ones = {name: places(name) for name in all_recipes() if name.startswith("nl1_")}
    assert len(ones) == 8
    for name, found in ones.items():
        ((stage, (block,)),) = found.items()
        stages = re.findall(r"res\d", name) or ["res4"]
        assert [stage] == stages
        assert block == len(getattr(network(name), stage)) - 2


def test_five_and_ten_blocks_stand_where_the_paper_says():
    for name in all_recipes():
        found = places(name)
        if "r50" in name and name.startswith("nl5"):  # "to every other residual block"
            assert found == {"res3": [1, 3], "res4": [1, 3, 5]}
        elif "r50" in name and name.startswith("nl10"):  # "every residual block in res3 and res4"
            assert found == {"res3": [*range(4)], "res4": [*range(6)]}
        elif name.startswith(("nl5", "nl10")):  # R101: "the corresponding residual blocks"
            count = {stage: len(blocks) for stage, blocks in found.items()}
            assert count == ({"res3": 2, "res4": 3} if "nl5" in name else {"res3": 4, "res4": 6})
        else:
            assert name.startswith("nl1_") or not found


def test_blocks_are_of_the_kind_and_extent_that_the_name_says():
    for name in all_recipes():
        for block in nonlocal_blocks(network(name)).values():
            assert block.kind == next(
                (k for k in ("concatenation", "dot_product") if k in name),
                "gaussian" if name.endswith("gaussian") else "embedded_gaussian",
            )
            assert block.extent == next((e for e in ("space", "time") if e in name), "spacetime")


def test_networks_are_those_of_the_name():
    for name in all_recipes():
        net = network(name)
        inflated = [k for k, w in net.named_parameters() if w.ndim == 5 and w.shape[2] > 1]
        kernels = {tuple(net.get_parameter(k).shape[2:]) for k in inflated}
        want = {(5, 7, 7), (3, 3, 3)} if "i3d333" in name else {(5, 7, 7), (3, 1, 1)}
        assert kernels == (set() if "c2d" in name else want)
        assert len(net.res4) == (23 if "r101" in name else 6)
        assert net.fc.out_features == (157 if name in CHARADES else 400)
        assert net.dropout.p == 0.5


def test_settings_of_32_frames():  # Sec. 4.1
    for name in SHORT:
        recipe = recipe_named(name)
        clip, train = recipe.clip, recipe.train
        assert (clip.frames, clip.stride, clip.crop, clip.short_side) == (32, 2, 224, (256, 320))
        assert (train.steps, train.lr, train.batch) == (400_000, 0.01, 8 * 8)
        assert (train.schedule, train.decay_at, train.warmup) == ("steps", (150_000, 300_000), 0)
        assert (train.optimizer, train.weight_decay, train.bn) == ("sgd", 1e-4, "train")
        assert (recipe.test.views, recipe.test.combine) == ("10x1", "mean")
        assert clip.test_short_side == 256
        assert recipe.init == "imagenet" and not recipe.multi_label


def test_settings_of_128_frames():  # Sec. 5.1; "other implementation details are the same"
    assert len(LONG) == 6
    for name in LONG:
        recipe, before = recipe_named(name), recipe_named(name.removesuffix("_128f"))
        changed = {k: v for k, v in asdict(recipe.clip).items() if v != getattr(before.clip, k)}
        assert changed == {"frames": 128, "stride": 1}
        changed = {k: v for k, v in asdict(recipe.train).items() if v != getattr(before.train, k)}
        assert changed == {"batch": 2 * 8, "lr": 0.0025, "bn": "frozen"}
        assert recipe.init == before.name and recipe.test == before.test


def test_settings_of_charades():  # Sec. 5.2
    assert len(CHARADES) == 4
    for name in CHARADES:
        recipe = recipe_named(name)
        before = recipe_named(recipe.init)
        assert recipe.init == name.split("_charades")[0] + "_128f"
        changed = {k: v for k, v in asdict(recipe.train).items() if v != getattr(before.train, k)}
        steps = {"steps": 200_000, "decay_at": (75_000, 150_000)}
        assert changed == {"batch": 1 * 8, "lr": 0.00125, **steps}
        clip = recipe.clip
        assert (clip.frames, clip.stride, clip.crop, clip.test_short_side) == (128, 1, 288, 320)
        low, high = (side * 288 / 224 for side in before.clip.short_side)
        assert clip.short_side == (round(low), round(high))
        assert (recipe.test.views, recipe.test.combine) == ("10x1", "max")


def test_a_recipe_begins_with_the_tensors_that_another_one_ends_with():
    for name in (*LONG, *CHARADES):
        ends, begins = (
            {key: tensor.shape for key, tensor in network(n).state_dict().items()}
            for n in (recipe_named(name).init, name)
        )
        for key in ("fc.weight", "fc.bias") if name in CHARADES else ():
            assert ends.pop(key)[0] == 400 and begins.pop(key)[0] == 157
        assert ends == begins


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"no recipe 'nl5_i3d_r5O'; nearest: nl5_i3d_r50, "):
        recipe_named("nl5_i3d_r5O")


def test_a_chain_is_rehearsed_from_its_beginning(tmp_path):
    """What is frozen in the second recipe is what the first one left; the rest has learnt."""
    done = rehearse(recipe_named("c2d_r50_128f"), tmp_path)
    assert (done.begins, done.clip, len(done.losses)) == ("c2d_r50", (32, 64, 64), 2)
    first, second = (
        load_file(tmp_path / name / "best.safetensors") for name in ("c2d_r50", "c2d_r50_128f")
    )
    for key, tensor in second.items():
        frozen = "bn" in key or "downsample.1" in key
        assert torch.equal(tensor, first[key]) == frozen, key


@pytest.mark.long
@pytest.mark.parametrize("name", all_recipes())
def test_every_recipe_is_rehearsed(name):
    (done,) = rehearse_all([recipe_named(name)])
    assert done.recipe == name
