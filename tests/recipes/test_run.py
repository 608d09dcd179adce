"""A recipe becomes a run: what may not be is refused, first weights are found, the rate follows."""

import csv
from dataclasses import replace

import pytest
import torch
import yaml
from torchvision.models import resnet50

import nonlocalnet as nln
from nonlocalnet.cli.main import main
from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.data.folder import read_folder
from nonlocalnet.recipes.config import SmallRecipe
from nonlocalnet.recipes.recipe import ModelConfig, Recipe, TrainConfig
from nonlocalnet.recipes.run import run
from nonlocalnet.recipes.small import run_small, small_recipe
from nonlocalnet.weights.imagenet import image_facts

CLIP = ClipConfig(frames=4, stride=2, crop=32, short_side=(32, 40), test_short_side=32, flip=False)
TINY = Recipe(
    name="tiny",
    model=ModelConfig(name="nl1_i3d_tiny", num_classes=2, width=4, scale="unit"),
    clip=CLIP,
    train=TrainConfig(steps=4, batch=4, decay_at=(2,), validate_every=2, validation="1x1"),
)
QUIET = {"progress": False, "say": lambda text: None}


def plan(**changes):
    return replace(TINY, train=replace(TINY.train, **changes))


def network(**changes):
    return replace(TINY, model=replace(TINY.model, **changes))


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (plan(warmup=4), "a warm-up of 4 steps in a run of 4"),
        (plan(decay_at=(2, 9)), "fall at step 9, after the run's 4 steps"),
        (plan(keep="best"), "the data has none"),
        (plan(patience=2), "needs train.keep=best"),
        (plan(label_smoothing=1.0), "label_smoothing=1 must be from 0 to below 1"),
        (plan(bn="frozen"), "has scale zero, and frozen there"),
        (network(num_classes=400), "tiny has 400 classes, the data has 2"),
        (network(nonlocal_={}, scale="preset"), "nonlocal_={} places none"),
        (network(name="i3d_tiny", kind="gaussian", scale="preset"), "i3d_tiny has none"),
        (network(name="i4d_tiny"), "i4d_tiny"),
        (replace(TINY, multi_label=True), "the data has one label each"),
        (replace(TINY, init="before"), "starts from the weights of before"),
        (replace(TINY, init="imagenet"), "nl1_i3d_tiny is neither"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(bars, tmp_path, recipe, sentence):
    with pytest.raises(ValueError, match=sentence):
        run(recipe, read_folder(bars), tmp_path / "run", **QUIET)
    assert not (tmp_path / "run" / "metrics.csv").exists()


def rates(out):
    with (out / "metrics.csv").open() as file:
        return [float(row["lr"]) for row in csv.DictReader(file) if row["lr"]]


def test_the_rate_follows_the_clips_per_step_and_says_so(bars, tmp_path):
    said: list[str] = []
    run(TINY, read_folder(bars), tmp_path, batch=2, progress=False, say=said.append)
    assert "2 clips per step instead of 4: learning rate 0.005 instead of 0.01" in said[0]
    assert rates(tmp_path) == pytest.approx([0.005, 0.005, 0.0005, 0.0005])
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["machine"] == {"clips_per_step": 2}
    assert config["train"]["decay_at"] == [2]


def test_a_chain_of_recipes_takes_the_weights_of_the_run_before(bars, tmp_path):
    """As the 128-frame recipes: longer clips, all batch norms fixed, blocks included."""
    folder = read_folder(bars)
    before = run(replace(TINY, name="short"), folder, tmp_path / "short", **QUIET)
    longer = replace(
        plan(bn="frozen", lr=1e-9), name="long", clip=replace(CLIP, frames=8), init="short"
    )
    after = run(longer, folder, tmp_path / "long", **QUIET)
    for (name, a), b in zip(before.state_dict().items(), after.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6, msg=name)
    assert nln.load(tmp_path / "long").clip.frames == 8
    again = run(longer, folder, tmp_path / "long", **QUIET)  # complete: nothing is done again
    for a, b in zip(after.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_fresh_blocks_join_a_network_without(bars, tmp_path):
    """As released: from the baseline, the trunk fixed, the blocks' own batch norm not."""
    folder = read_folder(bars)
    bare = replace(network(name="i3d_tiny", scale="preset"), name="bare")
    run(bare, folder, tmp_path / "bare", **QUIET)
    joined = replace(plan(bn="trunk"), init="bare")
    after = run(joined, folder, tmp_path / "joined", **QUIET)
    norm = after.get_submodule("res3.0.nonlocal_block").norm
    assert norm.weight.requires_grad
    assert norm.weight.any()
    assert not after.bn1.weight.requires_grad


@pytest.mark.parametrize("file", ["resnet50.pth", "resnet50_thin.npz"])
def test_an_image_network_in_a_file_starts_a_video_network(bars, tmp_path, file):
    """Inflated; the thin one reads blue first, so its first kernels change places."""
    thin = "thin" in file
    theirs = resnet50(width_per_group=64).state_dict()
    if thin:
        pytest.importorskip("numpy")
        real = image_file()
        if real is None:
            pytest.skip("needs ../shared/data/weights/resnet50_thin.npz")
        path, conv1 = real
    else:
        path = tmp_path / file
        torch.save(theirs, path)
        conv1 = theirs["conv1.weight"]
    small = SmallRecipe(init=str(path), crop=32, frames=4, epochs=1)
    recipe = small_recipe(read_folder(bars), small, tmp_path / "run")
    assert recipe.model.name == "nl5_i3d_r50"
    assert recipe.train.bn == "train"
    assert recipe.clip.mean == image_facts(file).clip["mean"]
    recipe = replace(recipe, train=replace(recipe.train, lr=1e-12, steps=1, warmup=0))
    model = run(recipe, read_folder(bars), tmp_path / "run", **QUIET)
    got = model.conv1.weight.sum(2)
    torch.testing.assert_close(got, conv1.flip(1) if thin else conv1, rtol=1e-4, atol=1e-5)


def image_file():
    import numpy as np
    from foreign import FOREIGN

    path = FOREIGN.parent / "weights" / "resnet50_thin.npz"
    if not path.is_file():
        return None
    with np.load(path) as file:
        return path, torch.from_numpy(file["conv1.weight"])


def test_a_model_of_ours_brings_its_network_and_its_clip(bars, tmp_path):
    """And another classifier where the classes differ."""
    model = nln.build("nl1_c2d_tiny", 7, width=4, nonlocal_={"res4": (0,)}, kind="dot_product")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # a trained network has no scale of zero
    clip = {"frames": 4, "stride": 3, "mean": 0.4, "std": 0.3}
    nln.save(model, tmp_path / "seven.safetensors", labels=list("abcdefg"), clip=clip)
    said: list[str] = []
    small = SmallRecipe(init=str(tmp_path / "seven.safetensors"), crop=32, epochs=2)
    run_small(read_folder(bars), small, tmp_path / "run", progress=False, say=said.append)
    assert any("7 classes in the file, 2 in the network" in line for line in said)
    got = nln.load(tmp_path / "run")
    assert got.labels == ["down", "up"]
    assert (got.clip.frames, got.clip.stride, got.clip.mean, got.clip.std) == (4, 3, 0.4, 0.3)
    assert got.model.config["nonlocal_"] == {"res4": [0]}
    assert next(iter(nln.nonlocal_blocks(got.model).values())).kind == "dot_product"


def test_a_model_asked_for_beside_weights_of_ours_is_fed_as_they_were(bars, tmp_path):
    model = nln.build("c2d_tiny", 2, width=4)
    clip = {"frames": 4, "stride": 3, "mean": 0.4, "std": 0.3}
    nln.save(model, tmp_path / "bare.safetensors", labels=["down", "up"], clip=clip)
    small = SmallRecipe(init=str(tmp_path / "bare.safetensors"), model="nl1_c2d_tiny")
    recipe = small_recipe(read_folder(bars), small, tmp_path / "run")
    assert recipe.model.name == "nl1_c2d_tiny"
    assert (recipe.clip.frames, recipe.clip.stride) == (4, 3)
    assert (recipe.clip.mean, recipe.clip.std) == (0.4, 0.3)


def test_a_recipe_on_the_command_line(bars, tmp_path, capsys):
    common = ["train", "--recipe", "nl5_c2d_r50", "--data", str(bars)]
    assert main([*common, "--model.num-classes", "2", "--train.warmup", "500000"]) == 2
    assert "a warm-up of 500000 steps in a run of 400000" in capsys.readouterr().err
    assert main([*common, "--out", str(tmp_path)]) == 2
    assert "--model.num_classes 2" in capsys.readouterr().err
    assert main(["train", "--recipe", "nl5_c2d", "--data", str(bars)]) == 2
    assert "nl5_c2d_r50" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*common, "--train.lr", "0.5", "--print_config"])
    text = capsys.readouterr().out
    shown = yaml.safe_load(text)
    assert (shown["train"]["lr"], shown["train"]["steps"]) == (0.5, 400_000)
    assert shown["model"]["name"] == "nl5_c2d_r50"


def test_a_recipe_trains_from_the_command_line(bars, tmp_path, capsys):
    arguments = ["train", "--recipe", "c2d_r50", "--data", str(bars), "--out", str(tmp_path / "r")]
    arguments += ["--init", str(tmp_path / "resnet50.pth"), "--workers", "0", "--json"]
    arguments += ["--model.num-classes", "2", "--model.width", "8", "--clip.frames", "8"]
    arguments += ["--clip.crop", "32", "--clip.short-side", "[32,40]", "--batch", "2"]
    arguments += ["--clip.test-short-side", "32", "--accumulate", "2", "--max-steps", "2"]
    torch.save(
        nln.build("c2d_r50", 2, width=8, head_window=1).state_dict(), tmp_path / "resnet50.pth"
    )
    assert main(arguments) == 0
    config = yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())
    assert config["machine"] == {"clips_per_step": 4}
    assert rates(tmp_path / "r") == pytest.approx([0.01 * 4 / 64] * 2)
    curves = str(tmp_path / "figure4.svg")
    assert main(["plot", str(tmp_path / "r"), "--out", curves]) == 0
    assert "written to" in capsys.readouterr().out


def test_switches_need_no_value(bars, capsys):
    with pytest.raises(SystemExit):
        main(["train", str(bars), "--balanced", "--compile", "--flip", "false", "--print_config"])
    shown = yaml.safe_load(capsys.readouterr().out)
    assert [shown[name] for name in ("balanced", "compile", "flip")] == [True, True, False]
    assert shown["checkpointing"] is False
    with pytest.raises(SystemExit):
        main(
            [*["train", "--recipe", "c2d_r50", "--data", "x", "--train.balanced", "--print_config"]]
        )
    assert yaml.safe_load(capsys.readouterr().out)["train"]["balanced"] is True
