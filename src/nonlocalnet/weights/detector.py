"""The model file of a detector: safetensors, with what it was built from in the metadata."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from nonlocalnet.files import write_atomically
from nonlocalnet.models.detection import build_detector, run_parts
from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.nn.probe import unnoticed
from nonlocalnet.weights.detectron import PIXELS, load_trunk
from nonlocalnet.weights.file import DETECTOR_KEY, is_ours
from nonlocalnet.weights.reader import read_checkpoint

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class DetectorFile:
    """A detector in eval mode, and what its outputs mean."""

    model: Any
    labels: Mapping[int, str]
    """Category id -> name."""
    keypoints: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...]
    probe: Mapping[str, Any]
    """What `probe` gave when the file was written."""


def save_detector(
    model: Any,
    path: str | Path,
    labels: Mapping[int, str],
    keypoints: Sequence[str] = (),
    skeleton: Sequence[tuple[int, int]] = (),
) -> None:
    """Writes a model file, atomically.

    Args:
        model: From `build_detector`.
        path: Where to; conventionally *.safetensors.
        labels: Category id -> name.
        keypoints: Their names.
        skeleton: Pairs of them to join in pictures, counted from 0.
    """
    meta = {
        "format": FORMAT,
        "detector": model.config,
        "labels": {str(number): name for number, name in labels.items()},
        "keypoints": list(keypoints),
        "skeleton": [list(bone) for bone in skeleton],
        "blocks": list(nonlocal_blocks(model)),
        "probe": probe(model),
    }
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    write_atomically(path, to_bytes(tensors, {DETECTOR_KEY: json.dumps(meta)}))


def read_detector(path: str | Path) -> DetectorFile:
    """The detector of a model file, or of the best model of a run folder.

    Raises:
        ValueError: Missing, no detector of ours, or damaged.
    """
    path = Path(path)
    path = path / "best.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"{path}: no such model file; give one, or a run of detect train")
    meta = _metadata(path)
    if meta is None:
        what = "a network of videos" if is_ours(path) else "no detector of ours"
        raise ValueError(f"{path}: {what}; nonlocalnet detect train makes a detector")
    version = meta.get("format") if isinstance(meta, dict) else None
    if version != FORMAT:
        raise ValueError(f"{path}: format {version}, this version reads {FORMAT}; update")
    tensors = read_checkpoint(path).tensors
    try:
        model = build_detector(**meta["detector"])
        labels = {int(number): str(name) for number, name in meta["labels"].items()}
        skeleton = tuple((int(a), int(b)) for a, b in meta["skeleton"])
        keypoints = tuple(map(str, meta["keypoints"]))
        written = dict(meta["probe"])
    except Exception as error:  # whatever a damaged description leads to
        said = " ".join(str(error).split())[:120]
        raise ValueError(f"{path}: its description of the detector is damaged ({said})") from None
    wanted = {name: t.shape for name, t in model.state_dict().items()}
    if wanted != {name: t.shape for name, t in tensors.items()}:
        raise ValueError(f"{path}: its tensors are not those of the detector it describes")
    model.load_state_dict(tensors)
    return DetectorFile(
        model=model.eval(), labels=labels, keypoints=keypoints, skeleton=skeleton, probe=written
    )


def probe(model: Any, seed: int = 0) -> dict[str, Any]:
    """Seed, and the means over all places of what each part gives for seeded random inputs."""
    generator = torch.Generator().manual_seed(seed)
    device, channels = next(model.parameters()).device, model.backbone.out_channels
    shapes = ((1, 3, 64, 64), (1, channels, 7, 7), (1, channels, 14, 14))
    inputs = [torch.randn(shape, generator=generator).to(device) for shape in shapes]
    with unnoticed(model):
        _, (objectness, anchors), boxes, objects = run_parts(model, *inputs)
    values = [each.flatten(2).mean((0, 2)) for each in (*objectness, *anchors, objects)]
    return {"seed": seed, "values": torch.cat([*values, *(b[0] for b in boxes)]).tolist()}


def first_weights(model: Any, path: str | Path) -> str:
    """Puts the weights of any known file into a detector; returns what was done, in a sentence.

    A whole detector (torchvision's COCO weights, our own model file) or the trunk alone (ImageNet
    weights, see `load_trunk`). Blocks that the file does not have stay as they are.

    Raises:
        ValueError: The file cannot be read or does not fit; nothing is loaded then.
    """
    path = Path(path)
    tensors = read_checkpoint(path).tensors
    if not any(name.startswith("backbone.body.") for name in tensors):
        return str(load_trunk(model, path, tensors))
    _check_pixels(model, path)
    have = model.state_dict()
    tensors = {
        name: t
        for name, t in tensors.items()
        if name in have or not name.endswith("num_batches_tracked")
    }
    blocks = tuple(f"{name}." for name in nonlocal_blocks(model))
    kept = tuple(block for block in blocks if not any(n.startswith(block) for n in tensors))
    missing = [n for n in have if n not in tensors and not n.startswith(kept)]
    unknown = [n for n in tensors if n not in have]
    misshapen = [n for n in tensors if n in have and tensors[n].shape != have[n].shape]
    for what, names in (("missing", missing), ("unknown", unknown), ("misshapen", misshapen)):
        if names:
            raise ValueError(
                f"{path}: {len(names)} tensors are {what}, first {names[0]}; nothing was loaded, "
                "so check that file and detector belong together"
            )
    model.load_state_dict(tensors)
    rest = len(have) - len(tensors)
    return f"{len(tensors)} tensors of a whole detector" + (
        f", {rest} of blocks kept" if rest else ""
    )


def _metadata(path: Path) -> dict[str, Any] | None:
    """What `save_detector` wrote beside the tensors; None where it did not write the file."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(DETECTOR_KEY)
        return None if text is None else json.loads(text)
    except (SafetensorError, ValueError):
        return None


def _check_pixels(model: Any, path: Path) -> None:
    """Nothing in the tensors says how images are normalised and where the strides are."""
    meta = _metadata(path)
    theirs = {"stride_in_1x1": False, **PIXELS["torchvision"]} if meta is None else meta["detector"]
    for name in ("stride_in_1x1", "mean", "std"):
        ours, due = (
            torch.tensor(config[name], dtype=torch.float) for config in (model.config, theirs)
        )
        if not torch.allclose(ours, due, rtol=1e-4, atol=1e-6):
            raise ValueError(
                f"{path}: trained with {name} {theirs[name]}, and this detector has "
                f"{model.config[name]}; build it with the other imagenet, torchvision or detectron"
            )
