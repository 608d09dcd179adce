"""Builds the wheel and checks it in an environment that holds nothing else of ours.

The clean environment borrows the libraries of the one that runs this script (torch alone is
gigabytes); our package comes from the wheel. Checked: every module imports with warnings as
errors, the core works with all extras hidden, and every command prints its help.
"""

import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]

MODULES = """
import importlib, pkgutil, nonlocalnet
from pathlib import Path
assert Path(nonlocalnet.__file__).is_relative_to({clean!r}), nonlocalnet.__file__
names = [m.name for m in pkgutil.walk_packages(nonlocalnet.__path__, "nonlocalnet.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names), "modules imported")
"""

CORE = """
import sys
class OnlyTheCore:
    hidden = {hidden!r}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.hidden:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, OnlyTheCore())
import torch, nonlocalnet as nln
x = torch.randn(1, 8, 4, 6, 6)
assert torch.equal(nln.NonLocalBlock(8)(x), x)
assert nln.build("nl1_c2d_tiny", 3).eval()(torch.randn(1, 3, 4, 32, 32)).shape == (1, 3)
print("the core works without the extras")
"""

HIDDEN = ["av", "jsonargparse", "lightning", "pytorch_lightning", "matplotlib", "onnx", "rich"]
HIDDEN += ["onnxruntime", "tensorboard", "torchmetrics", "torchvision", "yaml", "cv2", "scipy"]


def run(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))[:200]}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        run(
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", scratch, ROOT),
        )
        (wheel,) = scratch.glob("nonlocalnet-*.whl")
        clean = scratch / "clean"
        venv.create(clean, with_pip=False)
        python = clean / "bin" / "python"
        site = Path(
            run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        )
        run(
            *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
            *("--no-deps", "--no-index", wheel),
        )
        # A path line adds the libraries but does not follow their own .pth files, so an editable
        # install of ours among them stays unseen.
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        print(run(python, "-W", "error", "-c", CORE.format(hidden=set(HIDDEN))).strip())
        print(run(python, "-c", MODULES.format(clean=str(clean))).strip())
        command = clean / "bin" / "nonlocalnet"
        listing = run(command, "--help")
        names = [line.split()[0] for line in listing.splitlines() if line.startswith("  ")]
        for name in names:
            text = run(command, name, "--help")
            assert "Example: nonlocalnet" in " ".join(text.split()), f"{name} --help has no example"
        print(f"{wheel.name}: help of {', '.join(names)}")


if __name__ == "__main__":
    main()
