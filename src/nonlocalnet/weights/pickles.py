"""Pickles read without running anything: arrays of numpy, texts, numbers and plain containers.

What a pickle calls is looked up among the stand-ins of `KNOWN`; any other name is refused. The
sizes that it claims take no memory, and neither do names that are nests of tuples.
"""

import io
import math
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


class Refused(Exception):
    """Says what a pickle asked for."""


class _Dtype:
    """numpy.dtype as pickled: a plain number type, and its byte order set afterwards."""

    def __init__(self, name: str, *_: Any) -> None:
        if not re.fullmatch(r"[<>=|]?[fiub][1248]", name):
            raise Refused(f"holds arrays of {name!r}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        self.dtype = self.dtype.newbyteorder(state[1] if state[1] in "<>" else "=")


class Array:
    """numpy.ndarray as pickled: made empty, then given shape, type and bytes."""

    def __init__(self, *_: Any) -> None:
        self.array = np.zeros(0, np.float32)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        if not isinstance(kind, _Dtype):
            raise Refused("holds an array without a number type")
        if not isinstance(data, str | bytes):
            raise Refused("holds an array of objects")
        data = data.encode("latin1") if isinstance(data, str) else data
        if math.prod(shape) * kind.dtype.itemsize != len(data):
            raise ValueError(f"an array of shape {tuple(shape)} has {len(data)} bytes")
        array = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if fortran else "C")
        self.array = array.astype(kind.dtype.newbyteorder("="))


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> Array:
    """An array as protocol 5 has it."""
    whole = Array()
    whole.__setstate__((1, shape, kind, order == "F", data))
    return whole


def _scalar(kind: Any, data: Any) -> Any:
    """One number of numpy."""
    whole = Array()
    whole.__setstate__((1, (), kind, False, data))
    return whole.array.item()


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into pickles of protocol 2."""
    if encoding != "latin1":
        raise Refused(f"encodes text as {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How Python 3 writes the bytes of an empty array there."""
    return b""


KNOWN: Mapping[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _encode,
    "__builtin__.bytes": _no_bytes,
    "numpy.dtype": _Dtype,
    "numpy.ndarray": Array,
    **{
        f"numpy.{core}.multiarray.{name}": stand_in
        for core in ("core", "_core")
        for name, stand_in in (("_reconstruct", Array), ("scalar", _scalar))
    },
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
}


_PurePython: Any = pickle._Unpickler  # the one in C lets a file choose the size of its memo


class ArrayUnpickler(_PurePython):
    """Python's unpickler, which knows nothing but the stand-ins."""

    def find_class(self, module: str, name: str) -> Any:
        """Only the stand-ins."""
        if f"{module}.{name}" not in KNOWN:
            raise Refused(f"asks for {module}.{name}")
        return KNOWN[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> Any:
        """Nothing lies outside the pickle."""
        raise Refused("points to something outside itself")

    def load_build(self) -> None:
        """State only for arrays and their types, never for what was found by name."""
        if not isinstance(self.stack[-2], Array | _Dtype):
            raise Refused(f"sets the state of a {type(self.stack[-2]).__name__}")
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
            raise Refused(f"has a {type(strange[0]).__name__} in the place of a name")


_PLAIN = (str, bytes, int, float, type(None))


class _Nothing(dict):
    """Whatever a pickle for torch calls, in the rehearsal."""

    def __init__(self, *_: Any) -> None:
        super().__init__()


class _Rehearsal(ArrayUnpickler):
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

    dispatch = {**ArrayUnpickler.dispatch, pickle.BUILD[0]: load_build}  # noqa: RUF012


def rehearse(path: Path) -> None:
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
    except Refused:
        raise
    except Exception:
        return
