"""The model file: safetensors whose metadata says everything needed to use the network.

Metadata, one JSON text under the key `nonlocalnet`: `format`, `model` (arguments of `build`),
`labels`, `clip` (frames, stride, sizes, mean, std), `blocks` (where non-local blocks stand),
`probe` (seed, input shape and the logits it gave when saved), and what else the writer adds.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from nonlocalnet.files import write_atomically
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.models.zoo import build
from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.nn.probe import unnoticed
from nonlocalnet.weights.fit import fit
from nonlocalnet.weights.own import OWN

FORMAT = 1
KEY = "nonlocalnet"
DETECTOR_KEY = "nonlocalnet_detector"
"""Of the model file of a detector, see `weights.detector`."""


def save(
    model: VideoResNet,
    path: str | Path,
    *,
    labels: Sequence[str],
    clip: Mapping[str, Any],
    **extra: Any,
) -> None:
    """Writes a model file, atomically.

    Args:
        model: From `build`.
        path: Where to; conventionally *.safetensors.
        labels: Class names in the order of the logits.
        clip: Preprocessing, the fields of `data.clips.ClipConfig`.
        **extra: More plain data to travel along.

    Raises:
        ValueError: The number of labels is not the number of logits, the network is not what
            `build` makes of its `config`, or `load` would refuse anything else of it.
    """
    config = getattr(model, "config", None)
    with torch.device("meta"):
        described = _shapes(build(**config)) if config else None
    if _shapes(model) != described:
        raise ValueError(
            "the network is not the one that build makes of its config, so load would refuse the "
            "file; save the one of build, with all its blocks and classes, before optimize"
        )
    if len(labels) != model.fc.out_features:
        raise ValueError(
            f"{len(labels)} labels for {model.fc.out_features} logits; give one label per class"
        )
    if wrong := [label for label in labels if not isinstance(label, str)]:
        raise ValueError(f"labels are names, got {wrong[0]!r}; give text, as {str(wrong[0])!r}")
    frames = clip.get("frames")
    if not isinstance(frames, int) or frames < 1:
        raise ValueError(f"clip must say its frames, 1 or more, got {dict(clip)}")
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    if wrong := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{wrong[0]} is not finite, so load would refuse the file")
    meta = {
        "format": FORMAT,
        "model": model.config,
        "labels": list(labels),
        "clip": dict(clip),
        "blocks": list(nonlocal_blocks(model)),
        "probe": probe(model, (1, 3, min(frames, 8), 64, 64)),
    }
    if taken := sorted(set(meta) & set(extra)):
        raise ValueError(f"{', '.join(taken)} is the file's own; call what travels along otherwise")
    write_atomically(path, to_bytes(tensors, {KEY: json.dumps({**meta, **extra})}))


def read(path: str | Path) -> tuple[VideoResNet, dict[str, Any]]:
    """The network of a model file, in eval mode, and the file's metadata.

    Raises:
        ValueError: Missing, not one of our files, or tensors that do not fit the network it names.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such model file; give a .safetensors file or a run folder")
    try:
        with safe_open(path, framework="pt") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a safetensors file ({error}); nonlocalnet train writes one, nonlocalnet "
            "convert makes one of a checkpoint of others"
        ) from None
    if DETECTOR_KEY in said:
        raise ValueError(
            f"{path}: a detector; nonlocalnet detect test and detect predict use it, and this is "
            "for networks of videos"
        )
    if KEY not in said:
        raise ValueError(
            f"{path}: a safetensors file of somebody else (no {KEY!r} in its metadata); "
            "nonlocalnet convert makes one of ours of it, if it knows the source"
        )
    meta = _metadata(path, said[KEY])
    try:
        with torch.device("meta"):  # so that a damaged file cannot ask for a giant
            model = build(**meta["model"])
    except Exception as error:  # whatever a damaged description leads to
        said = " ".join(str(error).split())[:120]
        raise ValueError(f"{path}: its description of the network is damaged ({said})") from None
    try:
        state, _ = fit(model.state_dict(), tensors, OWN)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if len(meta["labels"]) != model.fc.out_features:
        raise ValueError(
            f"{path}: has {len(meta['labels'])} labels for {model.fc.out_features} logits; write "
            "the file again"
        )
    model.load_state_dict(state, assign=True)
    return model.eval(), meta


def _shapes(model: VideoResNet) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def is_ours(path: str | Path, key: str = KEY) -> bool:
    """Whether a file is safetensors with our metadata."""
    return key in _texts(path)


def model_arguments(path: str | Path) -> dict[str, Any]:
    """The arguments of `build` in a model file of ours; none in any other file."""
    said = _texts(path).get(KEY)
    return {} if said is None else _metadata(Path(path), said)["model"]


def _texts(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file; none of any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}


def _metadata(path: Path, text: str) -> dict[str, Any]:
    """The metadata, with every field that all our files have."""
    try:
        meta = json.loads(text)
        version = meta["format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{path}: its metadata is damaged; write the file again") from None
    if version != FORMAT:
        raise ValueError(f"{path}: format {version}, this version reads {FORMAT}; update")
    fields = {"model": dict, "labels": list, "clip": dict, "blocks": list, "probe": dict}
    wrong = [name for name, kind in fields.items() if not isinstance(meta.get(name), kind)]
    if "labels" not in wrong and not all(isinstance(label, str) for label in meta["labels"]):
        wrong.append("labels")
    if wrong:
        raise ValueError(
            f"{path}: its metadata lacks {', '.join(wrong)}, or has them in another form; write "
            "the file again"
        )
    return meta


def probe(model: VideoResNet, shape: Sequence[int], seed: int = 0) -> dict[str, Any]:
    """Seed, input shape and the logits that a seeded random input gives in eval mode."""
    x = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))
    device = next(model.parameters()).device
    with unnoticed(model):
        logits = model(x.to(device))[0]
    return {"seed": seed, "shape": list(shape), "logits": logits.cpu().tolist()}


def save_atomically(content: Any, path: str | Path) -> None:
    """torch.save through `write_atomically`."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())
