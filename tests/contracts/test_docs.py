"""README and docs say what is so: their Python runs, their commands and options parse, and what
they link to or name is there."""

import ast
import contextlib
import functools
import io
import re
import shlex
from pathlib import Path

import pytest
import torch
from networks import speaking
from videos import write_video

import nonlocalnet as nln
from nonlocalnet.cli.main import COMMANDS, parse
from nonlocalnet.models.zoo import PRESETS
from nonlocalnet.weights.fit import TABLES

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "nonlocalnet"
PAGES = {path.name: path for path in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")))}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
CALL = re.compile(r"(?:\$ )?(?:torchrun .* -m )?nonlocalnet ")
REPOSITORY = re.compile(r"(?<![\w/.])(?:tests|benchmarks|examples|docs|src)/[\w/-]+\.\w+")
FLAG = re.compile(r"(?<![\w-])--([a-z][\w.-]*\w)\b(?!\.\*)")
TORCHRUN = {"nproc_per_node", "max_restarts"}


def blocks(name: str, python: bool) -> list[str]:
    return [text for kind, text in FENCED.findall(TEXTS[name]) if (kind == "python") == python]


def inline(name: str) -> list[str]:
    return INLINE.findall(FENCED.sub("", TEXTS[name]))


def command_lines() -> list:
    """Every line of a block that calls us, with the page it stands on."""
    found = []
    for name in PAGES:
        for block in blocks(name, python=False):
            for line in block.replace("\\\n", " ").splitlines():
                if match := CALL.match(line):
                    found.append(pytest.param(line[match.end() :], id=f"{name}: {line.strip()}"))
    return found


@pytest.mark.parametrize("line", command_lines())
def test_commands_parse(line):
    name, *arguments = shlex.split(line, comments=True)
    assert name in COMMANDS
    parse(name, arguments)


@functools.cache
def options_of(name: str, *more: str) -> set[str]:
    """What `--help` of a command lists."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
        parse(name, [*more, "--help"])
    return {flag.replace("-", "_") for flag in FLAG.findall(said.getvalue())}


def every_option() -> set[str]:
    """Of all commands, and of the scripts beside them."""
    known = set(TORCHRUN)
    for name in COMMANDS.keys() - {"train", "detect"}:
        known |= options_of(name)
    known |= options_of("train", "folder") | options_of("train", "--recipe", "nl5_i3d_r50")
    for part in ("train", "test", "predict", "generate"):
        known |= options_of("detect", part)
    for script in (*ROOT.glob("benchmarks/*.py"), *ROOT.glob("examples/*.py")):
        known |= {f.replace("-", "_") for f in FLAG.findall(script.read_text(encoding="utf-8"))}
    return known


@pytest.fixture(scope="module")
def known_options():
    return every_option()


@pytest.mark.parametrize("name", PAGES)
def test_options_exist(name, known_options):
    said = {f.replace("-", "_") for text in inline(name) for f in FLAG.findall(text)}
    assert said - known_options == set()


@pytest.mark.parametrize("name", PAGES)
def test_commands_in_sentences_exist(name):
    for text in inline(name):
        if match := re.match(r"nonlocalnet (?:-m )?([a-z-]+)(.*)", text):
            assert match[1] in COMMANDS, text
            if match[1] not in ("train", "detect"):
                said = {flag.replace("-", "_") for flag in FLAG.findall(match[2])}
                assert said <= options_of(match[1]), text


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with what the reader of the pages has: a run, a video, files of others."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "runs" / "mine").mkdir(parents=True)
    clip = {"frames": 4, "stride": 1, "crop": 32, "short_side": (32, 40), "test_short_side": 32}
    nln.save(
        speaking(2),
        folder / "runs" / "mine" / "best.safetensors",
        labels=["running", "sitting"],
        clip=clip,
    )
    write_video(folder / "clip.mp4", 12)
    foreign = {
        "i3d_nonlocal_32x2_IN_pretrain_400k.pkl": ("nl5_i3d_r50", "caffe2"),
        "i3d_baseline_32x2.pkl": ("i3d_r50", "caffe2"),
        "resnet50.pth": ("c2d_r50", "torchvision"),
    }
    for file, (network, source) in foreign.items():
        torch.save({"blobs": random_weights(network, source)}, folder / file)
    return folder


def random_weights(network: str, source: str) -> dict[str, torch.Tensor]:
    """A network's tensors under the names of a source; kernels of images are 2-D."""
    with torch.device("meta"):
        shapes = nln.build(network, preset="official").state_dict()
    weights = {}
    for ours, like in shapes.items():
        shape = like.shape
        if source == "torchvision" and len(shape) == 5:
            shape = (*shape[:2], *shape[3:])
        for theirs in TABLES[source].theirs(ours)[:1]:
            weights[theirs] = torch.rand(shape)
    return weights


@pytest.mark.parametrize("name", [name for name in PAGES if blocks(name, python=True)])
def test_python_runs(name, desk, monkeypatch, capsys):
    """From top to bottom, each page by itself."""
    monkeypatch.chdir(desk)
    scope: dict = {}
    for code in blocks(name, python=True):
        exec(compile(code, name, "exec"), scope)


def names_in(path: Path) -> set[str]:
    """What a module defines, and what its classes do: CLASS.NAME."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if hasattr(part, "name")}
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif name := getattr(node, "name", None):
            found.add(name)
    return found


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    """Files, and the objects in them; the site's own build checks headings."""
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", TEXTS[name])):
        if target.startswith(("https://", "#")):
            continue
        path, _, part = target.partition("#")
        file = PAGES[name].parent / path
        assert file.exists(), target
        if part and file.suffix == ".py":
            assert part in names_in(file), target


@pytest.mark.parametrize("name", PAGES)
def test_named_files_exist(name):
    floors = "|".join(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    for text in inline(name):
        for path in REPOSITORY.findall(text):
            assert (ROOT / path).exists(), path
        for path in re.findall(rf"(?<![\w/.])(?:{floors})/[\w/-]+\.py", text):
            assert (PACKAGE / path).exists(), path


def test_the_paper_page_has_every_equation_table_and_figure():
    """Each with code of ours in its row."""
    sections = re.split(r"^## ", TEXTS["paper.md"], flags=re.MULTILINE)
    places = {
        ("The operation", "Eq. "): "12345",
        ("The block", "Eq. "): "6",
        ("The networks", "Table "): "1",
        ("Tables", ""): ["2a", "2b", "2c", "2d", "2e", "2f", "2g", *"3456"],
        ("Figures", ""): "1234",
    }
    for (heading, before), numbers in places.items():
        (section,) = (text for text in sections if text.startswith(heading))
        for number in numbers:
            (row,) = re.findall(rf"^\| \*\*{before}{number}[*,].*", section, re.MULTILINE)
            assert "](../src/" in row or "`kind=" in row, row


def test_every_preset_has_its_row():
    rows = re.findall(r"^\| `(\w+)` \| stride (\d) \|", TEXTS["paper-and-code.md"], re.MULTILINE)
    assert {name: int(stride) for name, stride in rows} == {
        name: preset.stem_stride_t for name, preset in PRESETS.items()
    }


def test_the_citation_and_the_changes_are_of_this_version():
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {nln.__version__}\n" in cited
    assert f"## {nln.__version__}" in TEXTS["CHANGELOG.md"]
