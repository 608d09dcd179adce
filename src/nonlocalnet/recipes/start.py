"""First weights of a run: of images, of another run or project, or its own last checkpoint."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor

from nonlocalnet.engine.checkpoints import read_last
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.recipes.recipe import Recipe
from nonlocalnet.weights.imagenet import image_facts
from nonlocalnet.weights.load import load_pretrained
from nonlocalnet.weights.reader import read_checkpoint


def first_weights(
    model: VideoResNet, recipe: Recipe, init: str, out: Path, say: Callable[[str], None]
) -> None:
    """Loads the run's last.ckpt where there is one, else `init`, else what the recipe starts from.

    Blocks that the other network has not start fresh, as the identity.

    Raises:
        ValueError: The weights are missing or do not fit.
    """
    last = out / "last.ckpt"
    if last.exists():
        state = read_last(last)["state_dict"]
        model.load_state_dict({k.removeprefix("model."): v for k, v in state.items()})
        return
    init = init or recipe.init
    if not init:
        return
    if init == "imagenet":
        report = load_pretrained(model, _from_torchvision(recipe.model.name), "torchvision")
    else:
        tensors = read_weights(weights_file(init, out, recipe.name))
        blocks = any(re.search("non_?local", name) for name in tensors)
        allow = () if blocks else ("*nonlocal_block.*",)
        try:
            report = load_pretrained(model, tensors, allow=allow)
        except ValueError as error:
            raise ValueError(f"{init}: {error}") from None
    say(f"first weights from {init}: {report}")


def weights_file(init: str, out: Path, name: str = "this run") -> Path:
    """The file that `init` means: itself, that of a run folder, or of a recipe's run beside `out`.

    Raises:
        ValueError: There is none.
    """
    for path in (Path(init), out.parent / init):
        if path.is_file():
            return path
        if (path / "best.safetensors").is_file():
            return path / "best.safetensors"
    raise ValueError(
        f"{name} starts from the weights of {init}, and neither {init} nor {out.parent / init} is "
        f"a file of weights or the folder of a finished run; if {init} is a recipe, run it first "
        "(nonlocalnet train --recipe), or give --init FILE_OR_RUN"
    )


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file, for RGB input.

    Raises:
        ValueError: See `read_checkpoint`.
    """
    tensors: dict[str, Any] = dict(read_checkpoint(path).tensors)
    if image_facts(path.name).bgr:
        tensors["conv1.weight"] = torch.as_tensor(tensors["conv1.weight"]).flip(1)
    return tensors


def _from_torchvision(network: str) -> Mapping[str, Tensor]:
    depth = {"r50": "resnet50", "r101": "resnet101"}.get(network.rpartition("_")[2])
    if depth is None:
        raise ValueError(
            f"init=imagenet is for networks of ResNet-50 and ResNet-101, {network} is neither; "
            "leave init out"
        )
    try:
        from torchvision.models import get_model_weights
    except ImportError:
        raise ValueError(
            "init=imagenet takes torchvision's weights, and torchvision is not installed; "
            "run: pip install 'nonlocalnet[detection]', or give a file with --init"
        ) from None
    weights: Any = get_model_weights(depth)
    try:
        return weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError) as error:
        raise ValueError(
            f"the ImageNet weights {weights.IMAGENET1K_V1.url} could not be fetched "
            f"({' '.join(str(error).split())}); fetch them elsewhere and give --init FILE"
        ) from None
