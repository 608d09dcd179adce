"""What `nonlocalnet test` writes beside results.json, where some of the list is gone."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import nonlocalnet as nln
from nonlocalnet.cli.main import main
from nonlocalnet.cli.test_files import missing_videos
from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.data.folder import read_folder
from nonlocalnet.engine.worst import worst

CLIP = ClipConfig(frames=4, stride=2, crop=32, short_side=(32, 40), test_short_side=32, flip=False)
GONE = {"up/99.mp4": "up", "up/98.mp4": "up", "down/99.mp4": "down"}


@pytest.fixture(scope="module")
def rotten(bars, tmp_path_factory):
    """The bars with three files gone and one that is no video, all of them to be tested.

    One more that is no video is for validation.
    """
    root = tmp_path_factory.mktemp("rotten") / "data"
    shutil.copytree(bars, root)
    for name in ("97.mp4", "96.mp4"):
        (root / "up" / name).write_text("no video at all")
    with (root / "videos.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"{path},{label},test\n" for path, label in GONE.items())
        file.write("up/97.mp4,up,test\nup/96.mp4,up,val\n")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    net = nln.build("nl1_i3d_tiny", 2, width=4, head_window=1).eval()
    torch.nn.init.normal_(net.fc.weight)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    nln.save(net, path, labels=["down", "up"], clip=vars(CLIP))
    return path


@pytest.fixture(scope="module")
def tested(rotten, model):
    out = rotten.parent / "out" / "results.json"
    out.parent.mkdir()
    arguments = ["test", str(model), "--data", str(rotten), "--out", str(out)]
    assert main([*arguments, "--views", "2x1", "--workers", "0"]) == 0
    return out


def test_every_file_is_there_and_says_what_results_say(tested):
    results = json.loads(tested.read_text())
    assert {path.name for path in tested.parent.iterdir()} == {
        "results.json",
        "per_class.csv",
        "confusion.csv",
        "confusion.png",
        "worst.png",
        "report.html",
        "explorer",
    }
    with (tested.parent / "confusion.csv").open() as file:
        table = list(csv.reader(file))
    assert table[0] == ["true \\ predicted", "down", "up"]
    counts = np.array([row[1:] for row in table[1:]], int)
    for k, label in enumerate(results["labels"]):
        rows = [row for row in results["videos"] if row["label"] == label]
        assert counts[k].tolist() == [
            sum(row["predicted"] == other for row in rows) for other in results["labels"]
        ]
    share = counts.trace() / counts.sum()
    assert share == results["metrics"]["top1@2x1x32"]
    for name in ("confusion.png", "worst.png"):
        assert (tested.parent / name).read_bytes().startswith(b"\x89PNG")


def test_the_report_shows_the_figures_and_links_to_the_explorers(tested, capsys):
    page = (tested.parent / "report.html").read_text(encoding="utf-8")
    results = json.loads(tested.read_text())
    for name, value in results["metrics"].items():
        assert f"<td>{name}</td><td class=number>{100 * value:.2f} %</td>" in page
    assert not re.search(r'src="(?!data:)', page)
    links = re.findall(r'<a href="./([^"]*)">([^<]*)', page)
    assert [link for link, _ in links] == [f"explorer/{k}.html" for k in (1, 2, 3)]
    for (link, text), row in zip(links, worst(results, 3), strict=True):
        name = "/".join(Path(results["videos"][row]["path"]).parts[-2:])
        assert text.startswith(f"{name}: ")
        explorer = (tested.parent / link).read_text(encoding="utf-8")
        assert f"<title>{name}</title>" in explorer
    assert main(["test", "m", "--data", ".", "--explorer", "-1"]) == 2
    assert "--explorer must be 0 pages or more, got -1" in capsys.readouterr().err


def test_the_report_of_a_run_has_its_curves(rotten, model, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(model, run / "best.safetensors")
    (run / "metrics.csv").write_text("step,train_error,val_error\n0,0.5,\n1,,0.25\n")
    (run / "config.yaml").write_text("multi_label: false\n")
    arguments = ["test", str(run), "--data", str(rotten), "--views", "1x1", "--workers", "0"]
    assert main([*arguments, "--explorer", "0"]) == 0
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Top-1 error while training (Figure 4)" in page
    assert "<a " not in page and not (run / "explorer").exists()


def test_missing_videos_are_counted_by_class(tested):
    """On the list: 3 + 1 of down, 3 + 2 + 1 of up; three of each could be read."""
    results = json.loads(tested.read_text())
    assert results["protocol"]["evaluated"] == 6
    assert results["protocol"]["missing"] == 4 == len(results["missing"])
    labels = [row["label"] for row in results["missing"]]
    assert sorted(labels) == ["down", "up", "up", "up"]
    with (tested.parent / "per_class.csv").open() as file:
        down, up = csv.DictReader(file)
    assert (down["listed"], down["evaluated"]) == ("4", "3")
    assert (up["listed"], up["evaluated"]) == ("6", "3")
    hits = sum(row["label"] == row["predicted"] == "up" for row in results["videos"])
    assert float(up["recall_worst"]) == pytest.approx(hits / 6)
    assert float(up["recall_best"]) == pytest.approx((hits + 3) / 6)


def test_what_other_splits_lack_is_not_missing(rotten, model, tmp_path):
    arguments = ["test", str(model), "--data", str(rotten), "--out", str(tmp_path / "r.json")]
    arguments += ["--split", "train", "--views", "1x1", "--workers", "0", "--explorer", "0"]
    assert main(arguments) == 0
    results = json.loads((tmp_path / "r.json").read_text())
    assert (results["protocol"]["missing"], results["faults"]) == (0, [])
    assert results["protocol"]["evaluated"] == 10


def test_intervals_and_bounds_hold_the_figure(tested):
    results = json.loads(tested.read_text())
    assert results["metrics"].keys() == results["intervals"].keys() == results["bounds"].keys()
    for name, value in results["metrics"].items():
        low, high = results["intervals"][name]
        assert low <= value <= high
        worst, best = results["bounds"][name]
        assert worst == pytest.approx(6 * value / 10)
        assert best == pytest.approx((6 * value + 4) / 10)


def test_views_are_judged_one_by_one_as_well(tested):
    results = json.loads(tested.read_text())
    views = [rank for row in results["videos"] for rank in row["clips"]]
    assert len(views) == 12  # two of each video
    want = sum(rank == 0 for rank in views) / 12
    assert results["metrics"]["clip_top1@2x1x32"] == pytest.approx(want)


def test_the_manual_names_every_field(tested):
    manual = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    table = manual.partition("## results.json")[2].partition("Beside it")[0]
    named = set(re.findall(r"`(\w+)`", table))
    results = json.loads(tested.read_text())
    assert set(results) <= named
    assert set(results["videos"][0]) - {"path"} <= named


def test_a_test_against_itself_is_compared_in_the_shell(tested, capsys):
    assert main(["compare", str(tested), str(tested)]) == 0
    said = capsys.readouterr().out
    assert "+0.00   +0.00 to +0.00" in said and "6 videos that both tested" in said


def test_another_name_keeps_its_files_apart(rotten, model, tmp_path, capsys):
    out = tmp_path / "jitter.json"
    arguments = ["test", str(model), "--data", str(rotten), "--out", str(out), "--workers", "0"]
    assert main([*arguments, "--views", "1-clip-jitter"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "jitter.json",
        *(f"jitter_{name}" for name in ("per_class.csv", "confusion.csv")),
        *(f"jitter_{name}" for name in ("confusion.png", "worst.png", "report.html")),
        "jitter_explorer",
    }
    said = capsys.readouterr().out
    assert "95 % interval" in said and "with all that is missing" in said
    assert "beside it jitter_per_class.csv" in said


def test_videos_that_fail_while_tested_keep_their_label(bars):
    folder = read_folder(bars)
    samples = folder.splits["test"]
    lost = samples[4]
    results = {"videos": [{"path": str(s.video.path)} for s in samples if s is not lost]}
    assert missing_videos(folder, "test", results) == [
        {"path": str(lost.video.path), "label": folder.labels[lost.label]}
    ]


def test_several_labels_of_missing_videos(rotten):
    (rotten.parent / "several").mkdir()
    source = rotten.parent / "several" / "test.csv"
    rows = ["path,labels", "up/0.mp4,up", "up/99.mp4,up;down", "down/97.mp4,", "up/97.mp4,up"]
    source.write_text("\n".join(rows) + "\n")
    folder = read_folder(source, videos=rotten, labels=["down", "up"], needs=("test",))
    results = {"videos": [{"path": str(rotten / "up" / "0.mp4")}]}
    found = missing_videos(folder, "test", results)
    assert [(row["path"], row["labels"]) for row in found] == [
        (str(rotten / "up" / "99.mp4"), ["down", "up"]),
        (str(rotten / "down" / "97.mp4"), []),
        (str(rotten / "up" / "97.mp4"), ["up"]),
    ]


def test_without_matplotlib_there_are_tables_and_a_sentence(tested, tmp_path):
    code = (
        "import sys, json, pathlib\n"
        "sys.modules['matplotlib'] = None\n"
        "from nonlocalnet.cli.test_files import write_beside\n"
        "results = json.loads(pathlib.Path(sys.argv[1]).read_text())\n"
        "write_beside(pathlib.Path(sys.argv[2]), results)\n"
    )
    out = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tested), str(out)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "a picture needs matplotlib, which is not installed" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"per_class.csv", "confusion.csv"}
