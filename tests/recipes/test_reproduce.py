"""Rows of a table are run once, kept in a file, and read back with paired intervals."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nonlocalnet.cli.main import main
from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.generated import write_matches, write_two_classes, write_two_labels
from nonlocalnet.engine.seeds import estimate
from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.recipes.answers import answers, draw, markdown, runs_by_recipe
from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.evidence import Run, append_run, read_runs, settings_hash
from nonlocalnet.recipes.experiments import EXPERIMENTS, experiment_named, row_named
from nonlocalnet.recipes.reproduce import Bench, reproduce
from nonlocalnet.recipes.scaled import IMAGES, LONGRANGE, REAL, Scale, scaled
from nonlocalnet.recipes.start import first_weights
from nonlocalnet.recipes.tables import TABLES, recipe_named

WEIGHTS = Path(__file__).parents[3] / "shared" / "data" / "weights" / "resnet50_thin.npz"
EVIDENCE = Path(__file__).parents[2] / "docs" / "evidence"
TINY = Scale(
    width=2,
    clip=ClipConfig(
        frames=8, stride=2, crop=32, short_side=(32, 32), test_short_side=32, flip=False
    ),
    epochs=2,
    batch=4,
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    out = tmp_path_factory.mktemp("evidence")
    write_two_classes(out / "videos", train=4, test=4)
    return Bench(
        name="tiny",
        given="tiny",
        folder=read_folder(out / "videos"),
        scale=TINY,
        out=out / "runs",
        file=out / "evidence" / "tiny.jsonl",
        machine=Machine(workers=0),
    )


@pytest.fixture(scope="module")
def ran(bench):
    """Table 2f's I3D and NL I3D with two seeds."""
    table = EXPERIMENTS["2f"]
    rows = [row_named(table, name) for name in ("i3d_r50", "nl5_i3d_r50")]
    return reproduce(rows, (0, 1), bench, say=lambda text: None, progress=False)


def made(name: str, seed: int, right: np.ndarray, settings: str = "s") -> Run:
    return Run(
        recipe=name,
        seed=seed,
        percent={"top1": 100 * float(right.mean())},
        protocol="10x1x64",
        budget="b",
        settings=settings,
        parameters=1,
        multiply_adds=1,
        train_seconds=1.0,
        test_seconds=1.0,
        torch="2",
        videos="v",
        ranks="".join("0" if hit else "z" for hit in right),
        command="c",
    )


@pytest.mark.parametrize("scale", [REAL, LONGRANGE])
def test_scaling_changes_sizes_and_nothing_else(scale):
    """Depth, kind, extent, places and test are the paper's; budgets are equal for all rows."""
    seen = set()
    for table in ("2a", "2b", "2c", "2d", "2e", "2f"):
        for recipe in EXPERIMENTS[table].recipes:
            small = scaled(recipe, scale, videos=400, classes=7, seed=4)
            for field in ("name", "nonlocal_", "kind", "extent", "more"):
                assert getattr(small.model, field) == getattr(recipe.model, field)
            assert small.test == recipe.test
            assert small.init == ""
            seen.add(repr((small.clip, replace(small.train, seed=0))))
            with torch.device("meta"):
                model, full = small.model.build(), recipe.model.build()
            assert list(nonlocal_blocks(model)) == list(nonlocal_blocks(full))
    assert len(seen) == 1


def test_longer_clips_keep_the_paper_s_ratios():
    before = scaled(recipe_named("i3d_r50"), REAL, videos=431, classes=27, seed=2)
    after = scaled(recipe_named("i3d_r50_128f"), REAL, videos=431, classes=27, seed=2)
    assert after.clip.frames == 4 * before.clip.frames
    assert after.clip.stride == before.clip.stride // 2
    assert after.train.batch * 4 == before.train.batch
    assert after.train.lr == before.train.lr / 4
    assert after.train.steps == before.train.steps
    assert (after.train.bn, after.init) == ("frozen", "i3d_r50-2")


def test_the_settings_of_a_run_are_all_but_its_seed():
    small = [
        scaled(recipe_named("i3d_r50_128f"), scale, videos=431, classes=27, seed=seed)
        for seed, scale in ((0, REAL), (1, REAL), (0, replace(REAL, epochs=31)))
    ]
    first, second, third = map(settings_hash, small)
    assert first == second != third
    warped = replace(REAL, clip=replace(REAL.clip, warp=0.5))
    fourth = settings_hash(
        scaled(recipe_named("i3d_r50_128f"), warped, videos=431, classes=27, seed=0)
    )
    assert fourth != first


def test_committed_runs_are_those_of_today_s_settings():
    """A setting added since must not turn them into runs of something else."""
    sets = {"utd-mhad-depth": (REAL, 431, 27), "longrange": (LONGRANGE, 1536, 2)}
    recipes = {r.name: (name, r) for name, e in EXPERIMENTS.items() for r in e.recipes}
    for data, (usual, videos, classes) in sets.items():
        runs = read_runs(EVIDENCE / f"{data}.jsonl")
        assert runs
        for run in runs:
            table, recipe = recipes[run.recipe]
            scale = EXPERIMENTS[table].scale or usual
            small = scaled(recipe, scale, videos=videos, classes=classes, seed=run.seed)
            assert settings_hash(small) == run.settings, (data, run.recipe, run.seed)


@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"needs the image weights {WEIGHTS}")
def test_image_weights_fit_the_rows_that_start_from_them(tmp_path):
    for name in ("thin_c2d_images", "thin_i3d_images"):
        recipe = row_named(EXPERIMENTS["init"], name)
        small = scaled(recipe, IMAGES, videos=431, classes=27, seed=1)
        other = scaled(
            row_named(EXPERIMENTS["init"], name.replace("images", "random")),
            IMAGES,
            videos=431,
            classes=27,
            seed=1,
        )
        assert (small.model, small.clip) == (other.model, other.clip)
        assert small.train == replace(other.train, lr=pytest.approx(other.train.lr / 3))
        assert (small.init, small.clip.mean[0]) == ("resnet50_thin.npz", 123 / 255)
        said = []
        first_weights(small.model.build(), small, str(WEIGHTS), tmp_path, said.append)
        assert "first weights from" in said[0]


def test_controls_are_as_large_as_they_say():
    def parameters(name: str, width: int = 64) -> int:
        recipe = row_named(EXPERIMENTS["2c"], name)
        scale = replace(REAL, width=width)
        with torch.device("meta"):
            model = scaled(recipe, scale, videos=400, classes=400, seed=0).model.build()
        return sum(p.numel() for p in model.parameters())

    blocks = parameters("nl5_c2d_r50")
    assert 1 <= parameters("c2d_r50_wider") / blocks < 1.03
    assert 0.85 < parameters("c2d_r50_deeper") / blocks < 1
    every = row_named(EXPERIMENTS["2f"], "i3d_r50_all").model
    kernels = [block.conv1.kernel_size[0] for block in replace(every, width=8).build().res4]
    assert kernels == [3] * 6


def test_every_table_of_the_paper_is_a_question():
    assert [*TABLES, "5", "6", "init", "warp"] == list(EXPERIMENTS)
    for name, table in TABLES.items():
        asked = EXPERIMENTS[name].rows[: len(table.rows)]
        cited = [row.words for row, own in zip(asked, table.rows, strict=True) if row != own]
        assert [replace(row, recipe=None) for row in asked] == [
            replace(row, recipe=None) for row in table.rows
        ]
        assert all(name == "4" and words.endswith("trainval/test") for words in cited)


def test_a_run_is_one_line_that_gives_its_figure_back(bench, ran):
    assert len(bench.file.read_text().splitlines()) == 4
    for run, again in zip(ran, read_runs(bench.file), strict=True):
        assert again == run
        results = json.loads((bench.out / f"{run.recipe}-{run.seed}/results.json").read_text())
        assert run.figure("top1")(np.ones(8)) == results["metrics"]["top1@10x1x32"]
        assert run.percent["top1"] == pytest.approx(100 * results["metrics"]["top1@10x1x32"])
    assert ran[0].parameters < ran[1].parameters
    assert ran[0].multiply_adds < ran[1].multiply_adds
    assert ran[1].command.endswith(
        "reproduce 2f --scale cpu --data tiny --only nl5_i3d_r50 --seed 0"
    )


def test_what_the_file_has_is_not_run_again(bench, ran, tmp_path):
    elsewhere = replace(bench, out=tmp_path)
    rows = [recipe_named("i3d_r50"), recipe_named("nl5_i3d_r50")]
    again = reproduce(rows, (0, 1), elsewhere, say=lambda text: None, progress=False)
    assert again == ran
    assert not list(tmp_path.iterdir())


def test_one_row_run_again_elsewhere_gives_its_figure(bench, ran, tmp_path):
    elsewhere, said = replace(bench, out=tmp_path), []
    rows = [recipe_named("i3d_r50")]
    (run,) = reproduce(rows, [1], elsewhere, again=True, say=said.append, progress=False)
    known = next(one for one in ran if (one.recipe, one.seed) == ("i3d_r50", 1))
    assert run.ranks == known.ranks
    assert any("the evidence file has top1" in text for text in said)
    assert len(read_runs(bench.file)) == 4


def test_a_longer_clip_starts_from_its_seed_s_run(bench, ran, tmp_path):
    said = []
    file = replace(bench, file=tmp_path / "t.jsonl")
    rows = [recipe_named("i3d_r50_128f")]
    (run,) = reproduce(rows, [1], file, say=said.append, progress=False)
    assert any("first weights from i3d_r50-1" in text for text in said)
    assert run.budget.startswith("width 2, 32 x 32 px, every frame")
    before, after = read_runs(file.file)
    assert after == run
    assert before == next(one for one in ran if (one.recipe, one.seed) == ("i3d_r50", 1))


@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"needs the image weights {WEIGHTS}")
def test_the_command_of_a_run_from_image_weights_names_their_file(bench, tmp_path):
    """Without it the command trained nothing: it asked for the file."""
    images = replace(IMAGES, clip=TINY.clip, epochs=1, batch=4)
    file = replace(bench, file=tmp_path / "t.jsonl", scale=images, init=str(WEIGHTS))
    rows = [row_named(EXPERIMENTS["init"], "thin_c2d_images")]
    (run,) = reproduce(rows, [0], file, say=lambda text: None, progress=False)
    assert run.command.endswith(f"--only thin_c2d_images --seed 0 --init {WEIGHTS}")


def test_a_run_of_other_settings_is_not_taken_for_one_of_these(bench, ran, tmp_path):
    """The run folder is the recipe's and the seed's: old figures stood under new settings."""
    longer = replace(bench, scale=replace(TINY, epochs=3), file=tmp_path / "t.jsonl")
    with pytest.raises(ValueError, match="other settings"):
        reproduce([recipe_named("i3d_r50")], [1], longer, say=print, progress=False)
    assert read_runs(longer.file) == []


def test_recipes_as_they_are_start_from_what_they_name(bench):
    full = replace(bench, scale=None, init="weights.npz")
    assert full.sized(recipe_named("i3d_r50_128f"), 2).init == "i3d_r50-2"
    charades = next(r for r in EXPERIMENTS["4"].recipes if r.multi_label)
    assert full.sized(charades, 2).init == charades.init
    images = next(r for r in EXPERIMENTS["init"].recipes if r.init)
    assert full.sized(images, 2).init == images.init


def test_intervals_are_paired_by_seed_and_video():
    """A gain of one video in ten is clear although seeds and videos differ by far more."""
    rng = np.random.default_rng(0)
    hard = rng.random(200)
    base = [hard < rng.uniform(0.3, 0.8) for _ in range(5)]
    row = [right | (np.arange(200) % 10 == 0) for right in base]
    runs = {
        name: [made(name, seed, right) for seed, right in enumerate(table)]
        for name, table in (("i3d_r50", base), ("nl5_i3d_r50", row))
    }
    (found,) = [a for a in answers(EXPERIMENTS["2f"], runs) if a.against == "R50 I3D"]
    gain = np.mean([a.mean() - b.mean() for a, b in zip(row, base, strict=True)])
    assert found.ours.mean == pytest.approx(gain)
    assert 0 < found.ours.low < gain < found.ours.high < 0.15
    alone = estimate([run.figure("top1") for run in runs["i3d_r50"]], 200)
    assert alone.high - alone.low > 2 * (found.ours.high - found.ours.low)
    assert (found.verdict, round(found.published, 1)) == ("agrees", 1.6)
    reverse = {"i3d_r50": runs["nl5_i3d_r50"], "nl5_i3d_r50": runs["i3d_r50"]}
    reverse = {n: [replace(r, recipe=n) for r in rs] for n, rs in reverse.items()}
    verdicts = [a.verdict for a in answers(EXPERIMENTS["2f"], reverse) if a.against == "R50 I3D"]
    assert verdicts == ["disagrees"]


def test_runs_of_older_settings_are_left_out():
    right = np.ones(4, bool)
    runs = [made("c2d_r50", 0, right, "old"), made("c2d_r50", 0, right), made("c2d_r50", 1, right)]
    assert [run.seed for run in runs_by_recipe(runs)["c2d_r50"]] == [0, 1]
    assert {run.settings for run in runs_by_recipe(runs)["c2d_r50"]} == {"s"}


def test_the_page_tells_what_ran_and_what_did_not(bench, ran):
    evidence = bench.file.parent
    probe = {"probe": "mean frame", "top1": 0.31, "interval": [0.2, 0.4], "classes": 4}
    (evidence / "probes").mkdir()
    (evidence / "probes" / "tiny.jsonl").write_text(
        json.dumps({**probe, "trained": 8, "tested": 4})
    )
    (evidence / "probes" / "stopped.jsonl").write_text("")
    (evidence / "figure3-utd-mhad-depth.png").touch()
    options = ["--evidence", str(evidence)]
    assert main(["reproduce", "all", "--render", *options]) == 0
    text = evidence.with_suffix(".md").read_text()
    assert "(evidence/figure3-utd-mhad-depth.png)" in text and "## Figure 4" not in text
    assert (evidence / "2f-tiny.png").read_bytes()[1:4] == b"PNG"
    assert "evidence/2f-tiny.png" in text and "2a-tiny" not in text
    assert "| mean frame | **31.0** (20.0 to 40.0) |" in text
    assert "(8 and 4 videos, 25.0 by chance)" in text and "on stopped" not in text
    table = markdown(EXPERIMENTS["2f"], runs_by_recipe(read_runs(bench.file)))
    assert table in text
    lines = {line.split(" | ")[0][2:]: line for line in table.splitlines()}
    assert "not run yet" in lines["R101 I3D"] and "not run yet" not in lines["R50 I3D"]
    assert "| 73.3 | 90.7 |" in lines["R50 I3D"]
    assert "R50 NL I3D - R50 I3D" in table
    assert text.count("not run yet") > 30


def test_bad_input_is_one_sentence(tmp_path, capsys):
    for arguments, sentence in (
        (["7"], "no table '7'; choose one of 2a"),
        (["2a", "--data", "x", "--seeds", "0"], "--seeds must be 1 or more, got 0"),
        (["2a", "--data", "x", "--only", "i3d_r50"], "no row 'i3d_r50' in this table"),
        (["all", "--data", "x", "--only", "i3d_r50"], "give the table instead of all"),
        (["2a", "--data", str(tmp_path / "none")], "none"),
        (["5", "--data", "x"], "table 5 has no row to run here: Its networks detect"),
    ):
        assert main(["reproduce", *arguments, "--out", str(tmp_path)]) == 2
        said = capsys.readouterr()
        assert sentence in said.err and said.err.count("\n") == 1
    (tmp_path / "x.jsonl").write_text('{"recipe": 3}\n')
    assert main(["reproduce", "2a", "--evidence", str(tmp_path)]) == 2
    assert "x.jsonl, line 1: not a run" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no table 'x'"):
        experiment_named("x")


def test_the_command_runs_only_the_rows_that_fit_the_labels(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_two_labels(tmp_path / "pairs", train=4, test=4)
    arguments = ["reproduce", "2a", "--data", "pairs", "--evidence", "evidence"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "Table 2a needs videos of one label each; pairs has others" in said
    assert said.count("not run yet") == 5
    assert main([*arguments, "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"
    assert main(["reproduce", "2a", "--render", "--evidence", "evidence"]) == 0
    assert "Table 2a. Instantiations" in capsys.readouterr().out
    assert not list(tmp_path.glob("evidence/*"))


def test_several_labels_are_learnt_from_random_weights(tmp_path):
    """Charades' recipes fine-tune: batch norm frozen at random weights trains nothing."""
    write_matches(tmp_path / "videos", train=8, test=4)
    clip = replace(TINY.clip, frames=1, stride=12)
    bench = Bench(
        name="labels",
        given="labels",
        folder=read_folder(tmp_path / "videos"),
        scale=replace(TINY, clip=clip),
        out=tmp_path / "runs",
        file=tmp_path / "labels.jsonl",
        machine=Machine(workers=0),
    )
    done = reproduce(EXPERIMENTS["4"].recipes, [0], bench, say=lambda text: None, progress=False)
    assert {run.budget for run in done} == {
        "width 2, 4 x 32 px, every 6th frame, 4 steps of 4 clips"
    }
    for run in done:
        assert 100 * run.figure("mAP")(np.ones(4)) == pytest.approx(run.percent["mAP"], abs=0.02)
    assert markdown(EXPERIMENTS["4"], runs_by_recipe(done)).count("not run yet") == 0


def test_the_committed_files_are_whole():
    """Every line reads, and no recipe has two lines of one seed and settings."""
    for file in (Path(__file__).parents[2] / "docs" / "evidence").glob("*.jsonl"):
        runs = read_runs(file)
        keys = [(run.recipe, run.seed, run.settings) for run in runs]
        assert len(set(keys)) == len(keys)
        for run in runs:
            metric = "mAP" if run.scores else "top1"
            kept = 100 * run.figure(metric)(np.ones(run.tested))
            assert kept == pytest.approx(run.percent[metric], abs=0.01)


def test_a_line_is_kept_once(tmp_path):
    run = made("c2d_r50", 0, np.ones(4, bool))
    append_run(tmp_path / "a.jsonl", run)
    append_run(tmp_path / "a.jsonl", replace(run, train_seconds=9.0))
    assert [one.train_seconds for one in read_runs(tmp_path / "a.jsonl")] == [1.0]


def test_a_table_without_published_figures_is_drawn_without_an_empty_half(tmp_path):
    runs = {"warped_i3d_r50": [made("warped_i3d_r50", 0, np.arange(10) % 3 > 0)]}
    alone, beside = (
        Image.open(draw(name, tmp_path, "tiny", runs)).convert("RGB") for name in ("warp", "2f")
    )
    blue = (0, 114, 178)
    assert blue in {color for _, color in beside.getcolors(1 << 24)}
    # One frame only: no left spine of another right of the names.
    row = np.asarray(alone)[alone.height // 3]
    assert (row[alone.width // 3 :].max(1) < 90).sum() == 0
