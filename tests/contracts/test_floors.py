"""The architecture as data: imports point down only, and importing the package costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nonlocalnet

SOURCE = Path(nonlocalnet.__file__).parent
MAY_IMPORT = {
    "ops": set(),
    "nn": {"ops"},
    "models": {"nn", "ops"},
    "weights": {"models", "nn", "ops"},
    "data": set(),
    "engine": {"data", "weights", "models", "nn", "ops"},
    "viz": {"ops", "nn"},
    "recipes": {"ops", "nn", "models", "weights", "data", "engine", "viz"},
    "web": {"ops", "nn", "models", "weights", "data", "engine", "viz", "recipes"},
    "cli": {"ops", "nn", "models", "weights", "data", "engine", "viz", "recipes", "web"},
}
BELOW = "files"  # nonlocalnet/files.py stands under all floors and imports none
FILES = sorted(SOURCE.glob("*/*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_imports_point_down(path):
    floor = path.parent.name
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("nonlocalnet."):
                target = name.split(".")[1]
                assert target in MAY_IMPORT[floor] | {floor, BELOW}, f"line {node.lineno}: {target}"


def test_what_is_below_all_floors_imports_none():
    assert "nonlocalnet" not in (SOURCE / f"{BELOW}.py").read_text(encoding="utf-8")


def test_every_floor_is_known():
    assert {path.parent.name for path in FILES} <= set(MAY_IMPORT)


def test_core_imports_only_torch_numpy_and_safetensors():
    """The block, the networks and the model file work where no extra is installed."""
    code = (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'av', 'lightning', 'rich', 'matplotlib', 'jsonargparse',"
        " 'torchmetrics', 'tensorboard', 'torchvision', 'yaml', 'cv2', 'scipy'}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "import nonlocalnet as nln, torch\n"
        "nln.build('nl1_c2d_tiny', 3)(torch.zeros(1, 3, 4, 32, 32)); nln.save\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
