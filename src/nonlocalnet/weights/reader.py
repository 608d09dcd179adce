"""Other people's checkpoint files, read without running anything that is in them.

Containers: safetensors; torch.save, zipped and legacy, through torch's tensor-only reader; pickles
of numpy arrays (Caffe2, Python 2). Whatever a pickle calls is replaced by the few harmless things
of `_KNOWN`; any other name is refused before it is looked up.
"""

import io
import math
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began before it zipped
_WRAPPERS = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, Lightning modules
_STATES = ("blobs", "model_state", "state_dict", "model_state_dict", "model")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a file holds: tensors by their names there, and the settings it was trained with."""

    path: str
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
    except _Refused as error:
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
    return Checkpoint(path=str(path), tensors=tensors, text=f"{path.name}\n{settings}")


class _Refused(Exception):
    """Says what a pickle asked for."""


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(16)
    if head[8:9] == b"{":
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > path.stat().st_size:
            raise _Refused("unpacks to more than its own size")
    if head.startswith((b"PK", _LEGACY[: len(head)])):
        _rehearse(path)
        return _read_torch(path)
    with path.open("rb") as file:
        return _ArrayUnpickler(file, encoding="latin1").load()


def _read_torch(path: Path) -> Any:
    """The tensor-only reader of torch, taught to read numpy's arrays as well."""
    known: list[Any] = [(stand_in, name) for name, stand_in in _KNOWN.items()]
    with warnings.catch_warnings(), torch.serialization.safe_globals(known):
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            said = str(error)
            if name := re.search(r"GLOBAL ([\w.]+)", said):
                raise _Refused(f"asks for {name[1]}") from None
            raise _Refused(f"holds what torch does not read ({said[:80]})") from None


class _Dtype:
    """numpy.dtype as pickled: a plain number type, and its byte order set afterwards."""

    def __init__(self, name: str, *_: Any) -> None:
        if not re.fullmatch(r"[<>=|]?[fiub][1248]", name):
            raise _Refused(f"holds arrays of {name!r}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        self.dtype = self.dtype.newbyteorder(state[1] if state[1] in "<>" else "=")


class _Array:
    """numpy.ndarray as pickled: made empty, then given shape, type and bytes."""

    def __init__(self, *_: Any) -> None:
        self.array = np.zeros(0, np.float32)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        if not isinstance(kind, _Dtype):
            raise _Refused("holds an array without a number type")
        if not isinstance(data, str | bytes):
            raise _Refused("holds an array of objects")
        data = data.encode("latin1") if isinstance(data, str) else data
        if math.prod(shape) * kind.dtype.itemsize != len(data):
            raise ValueError(f"an array of shape {tuple(shape)} has {len(data)} bytes")
        array = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if fortran else "C")
        self.array = array.astype(kind.dtype.newbyteorder("="))


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> _Array:
    """An array as protocol 5 has it."""
    whole = _Array()
    whole.__setstate__((1, shape, kind, order == "F", data))
    return whole


def _scalar(kind: Any, data: Any) -> Any:
    """One number of numpy."""
    whole = _Array()
    whole.__setstate__((1, (), kind, False, data))
    return whole.array.item()


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into pickles of protocol 2."""
    if encoding != "latin1":
        raise _Refused(f"encodes text as {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How Python 3 writes the bytes of an empty array there."""
    return b""


_KNOWN: Mapping[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _encode,
    "__builtin__.bytes": _no_bytes,
    "numpy.dtype": _Dtype,
    "numpy.ndarray": _Array,
    **{
        f"numpy.{core}.multiarray.{name}": stand_in
        for core in ("core", "_core")
        for name, stand_in in (("_reconstruct", _Array), ("scalar", _scalar))
    },
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
}


_PurePython: Any = pickle._Unpickler  # the one in C lets a file choose the size of its memo


class _ArrayUnpickler(_PurePython):
    """Python's unpickler, which knows nothing but the stand-ins."""

    def find_class(self, module: str, name: str) -> Any:
        """Only the stand-ins."""
        if f"{module}.{name}" not in _KNOWN:
            raise _Refused(f"asks for {module}.{name}")
        return _KNOWN[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> Any:
        """Nothing lies outside the pickle."""
        raise _Refused("points to something outside itself")

    def load_build(self) -> None:
        """State only for arrays and their types, never for what was found by name."""
        if not isinstance(self.stack[-2], _Array | _Dtype):
            raise _Refused(f"sets the state of a {type(self.stack[-2]).__name__}")
        super().load_build()

    def load_bytearray8(self) -> None:
        """Bytes that are there; Python makes room for as many as the file says."""
        self.stack.append(self.read(int.from_bytes(self.read(8), "little")))

    def load_setitem(self) -> None:
        """One key and its value; a nest of tuples as a key may take for ever to hash."""
        _plain_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        """Many of them."""
        _plain_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self) -> None:
        """A dictionary that protocol 0 makes at once."""
        _plain_keys(self.stack[::2])
        super().load_dict()

    dispatch = {  # noqa: RUF012
        **_PurePython.dispatch,
        pickle.BUILD[0]: load_build,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
    }


def _plain_keys(keys: Sequence[Any]) -> None:
    for key in keys:
        parts = key if isinstance(key, tuple) else (key,)
        if strange := [part for part in parts if not isinstance(part, _PLAIN)]:
            raise _Refused(f"has a {type(strange[0]).__name__} in the place of a name")


_PLAIN = (str, bytes, int, float, type(None))


class _Nothing(dict):
    """Whatever a pickle for torch calls, in the rehearsal."""

    def __init__(self, *_: Any) -> None:
        super().__init__()


class _Rehearsal(_ArrayUnpickler):
    """Goes through a pickle before torch does, and calls nothing: only its names are looked at."""

    def find_class(self, module: str, name: str) -> Any:
        """Nothing, under any name."""
        return _Nothing

    def persistent_load(self, pid: Any) -> Any:
        """The storages stay where they are."""
        return None

    def load_build(self) -> None:
        """A state is passed over."""
        self.stack.pop()

    dispatch = {**_ArrayUnpickler.dispatch, pickle.BUILD[0]: load_build}  # noqa: RUF012


def _rehearse(path: Path) -> None:
    """Refuses names that take for ever to hash; what else is wrong with the file torch will say."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith("data.pkl")]
                for name in names:
                    _Rehearsal(io.BytesIO(archive.read(name)), encoding="latin1").load()
        else:
            with path.open("rb") as file:
                for _ in range(5):  # magic, protocol, system, content, storages
                    _Rehearsal(file, encoding="latin1").load()
    except _Refused:
        raise
    except Exception:
        return


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
    if isinstance(value, _Array):
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
