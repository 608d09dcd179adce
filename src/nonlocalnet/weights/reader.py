"""Other people's checkpoint files, read without running anything that is in them.

Containers: safetensors; numpy's npz; torch.save, zipped and legacy, through torch's tensor-only
reader; pickles of numpy arrays (Caffe2, Python 2). Whatever a pickle calls is replaced by the few
harmless things of `weights.pickles`; any other name is refused before it is looked up.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from nonlocalnet.weights.pickles import KNOWN, Array, ArrayUnpickler, Refused, rehearse

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began before it zipped
_WRAPPERS = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, Lightning modules
_STATES = ("blobs", "model_state", "state_dict", "model_state_dict", "model")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a file holds: tensors by their names there, and the settings it was trained with."""

    tensors: dict[str, Tensor]
    text: str  # the file's name and its settings, where hints about the network stand


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The tensors of a checkpoint in any of the known containers.

    Raises:
        ValueError: The file is missing, damaged, of another kind, or holds more than tensors,
            arrays and plain containers.
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise ValueError(f"{path}: {what}; give a checkpoint (.pkl, .pth, .safetensors)")
    try:
        content = _read(path)
    except Refused as error:
        raise ValueError(
            f"{path}: refused, because it {error}, and only tensors, arrays and plain containers "
            "are read; save the bare state dict and try again"
        ) from None
    except Exception as error:
        # A damaged file can fail in any way inside the readers; all of them mean the same here.
        odd = isinstance(error, KeyError) or not str(error)  # a number, or nothing
        reason = type(error).__name__ if odd else re.split(r"\.\s|\n", str(error))[0][:120]
        raise ValueError(
            f"{path}: not a checkpoint that can be read ({' '.join(reason.split())}); it may be "
            "damaged or cut off, so fetch it again"
        ) from None
    state, settings = _unwrap(content, path)
    limit = path.stat().st_size
    tensors = {key: _tensor(key, value, limit, path) for key, value in state.items()}
    return Checkpoint(tensors=tensors, text=f"{path.name}\n{settings}")


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(16)
    if head[8:9] == b"{":
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        arrays = all(entry.filename.endswith(".npy") for entry in entries)
        # Weights hardly compress: what unpacks to much more than the file is no file of weights.
        if sum(entry.file_size for entry in entries) > path.stat().st_size * (4 if arrays else 1):
            raise Refused("unpacks to more than its own size")
        if arrays:
            with np.load(path, allow_pickle=False) as file:
                return {name: torch.from_numpy(file[name]) for name in file.files}
    if head.startswith((b"PK", _LEGACY[: len(head)])):
        rehearse(path)
        return _read_torch(path)
    with path.open("rb") as file:
        return ArrayUnpickler(file, encoding="latin1").load()


def _read_torch(path: Path) -> Any:
    """The tensor-only reader of torch, taught to read numpy's arrays as well."""
    known: list[Any] = [(stand_in, name) for name, stand_in in KNOWN.items()]
    with warnings.catch_warnings(), torch.serialization.safe_globals(known):
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            said = str(error)
            if name := re.search(r"GLOBAL ([\w.]+)", said):
                raise Refused(f"asks for {name[1]}") from None
            raise Refused(f"holds what torch does not read ({said[:80]})") from None


def _unwrap(content: Any, path: Path) -> tuple[Mapping[str, Any], str]:
    """The state dict inside what was saved around it, and the settings saved beside it."""
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: holds a {type(content).__name__}, not a dictionary of tensors; save the "
            "model's state_dict()"
        )
    state = next((content[n] for n in _STATES if isinstance(content.get(n), dict)), content)
    meta = content.get("meta")
    places = [content, meta if isinstance(meta, dict) else {}]
    settings = [place.get(name) for place in places for name in ("cfg", "config")]
    if not state:
        raise ValueError(f"{path}: holds no tensors; give a file with weights")
    if strange := [key for key in state if not isinstance(key, str)]:
        kind = type(strange[0]).__name__
        raise ValueError(f"{path}: a tensor has a name of type {kind}; names must be text")
    while wrapper := next((w for w in _WRAPPERS if all(k.startswith(w) for k in state)), None):
        state = {key.removeprefix(wrapper): value for key, value in state.items()}
    return state, "\n".join(text for text in settings if isinstance(text, str))


def _tensor(key: str, value: Any, limit: int, path: Path) -> Tensor:
    """A tensor that owns all the bytes its shape needs, whatever the file said."""
    if isinstance(value, Array):
        value = torch.from_numpy(value.array)
    elif isinstance(value, int | float):
        value = torch.tensor(value)
    if not isinstance(value, Tensor):
        raise ValueError(f"{path}: {key} is a {type(value).__name__}, not a tensor")
    plain = value.layout == torch.strided and value.device.type == "cpu"
    if not plain or value.is_complex() or value.is_quantized:
        raise ValueError(f"{path}: {key} is not a plain tensor; save it dense, in float32")
    if value.numel() * value.element_size() > limit:
        raise ValueError(
            f"{path}: {key} claims the shape {tuple(value.shape)}, which is more than the file's "
            f"{limit} bytes; the file is damaged"
        )
    return value.detach()
