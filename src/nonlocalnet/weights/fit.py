"""The one strict engine: every tensor of the file and of the network is matched, or nothing is.

It reads a `Table`, renames, inflates 2-D kernels (Sec. 4: repeated t times, rescaled by 1/t), and
says for each tensor on both sides what became of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from nonlocalnet.weights.alexhex7 import ALEXHEX7
from nonlocalnet.weights.caffe2 import CAFFE2
from nonlocalnet.weights.gluoncv import GLUONCV
from nonlocalnet.weights.imagenet import IMAGENET
from nonlocalnet.weights.mmaction2 import MMACTION2
from nonlocalnet.weights.own import OWN
from nonlocalnet.weights.pytorchvideo import PYTORCHVIDEO
from nonlocalnet.weights.slowfast import SLOWFAST
from nonlocalnet.weights.table import Table

_ALL = (OWN, CAFFE2, SLOWFAST, MMACTION2, PYTORCHVIDEO, GLUONCV, ALEXHEX7, IMAGENET)
TABLES = {**{table.name: table for table in _ALL}, "timm": IMAGENET}


@dataclass(kw_only=True)
class Coverage:
    """What became of every tensor, by name; printing it gives a few lines."""

    source: str
    loaded: dict[str, str] = field(default_factory=dict)
    """Our name -> theirs."""
    inflated: list[str] = field(default_factory=list)
    """Our names of kernels that were 2-D in the file."""
    filled: dict[str, str] = field(default_factory=dict)
    """Our name -> why the source has no such tensor, and a constant stands there."""
    kept: dict[str, str] = field(default_factory=dict)
    """Our name -> why it was left as it was."""
    ignored: dict[str, str] = field(default_factory=dict)
    """Their name -> why it was not used."""
    notes: list[str] = field(default_factory=list)
    """What the file does not say and was taken to be so."""

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} tensors from {self.source}"]
        if self.inflated:
            lines.append(f"{len(self.inflated)} kernels inflated from 2-D")
        for verb, names in (
            ("filled", self.filled),
            ("kept", self.kept),
            ("ignored", self.ignored),
        ):
            for why in dict.fromkeys(names.values()):
                chosen = [name for name, reason in names.items() if reason == why]
                lines.append(f"{verb} {_some(chosen, 2)}: {why}")
        return "\n".join(lines + self.notes)


def table_of(keys: Iterable[str], source: str, bare: bool) -> Table:
    """The table of a source, or the one that knows most of the names.

    Raises:
        ValueError: The source is unknown, or none knows any of the names.
    """
    if source != "auto":
        if source not in TABLES:
            raise ValueError(f"no source {source!r}; choose one of auto, {', '.join(TABLES)}")
        return TABLES[source]
    keys = list(keys)
    known = [sum(table.ours(key, bare) is not None for key in keys) for table in _ALL]
    if not any(known):
        raise ValueError(
            f"the names ({_some(keys, 3)}) are those of no known source; "
            f"known are {', '.join(TABLES)}"
        )
    return _ALL[known.index(max(known))]


def fit(
    wanted: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    table: Table,
    *,
    bare: bool = False,
    allow: Sequence[str] = (),
    other_head: bool = False,
) -> tuple[dict[str, Tensor], Coverage]:
    """The state dict for a network whose state dict has the shapes `wanted`, and what was done.

    Args:
        wanted: Our name -> a tensor (of any device, also meta) of the network.
        tensors: Their name -> tensor.
        table: How the names correspond.
        bare: The network is a single non-local block.
        allow: Patterns (`*` as in file names) of our and their names that may stay unmatched.
        other_head: A classifier for another number of classes stays as it was.

    Raises:
        ValueError: Something is missing, unknown, of another shape, or not a finite number.
    """
    report = Coverage(source=table.name)
    faults: dict[str, list[str]] = {}

    def allowed(kind: str, said: str, *names: str) -> bool:
        """Whether a name may have this fault; if not, the fault is noted."""
        if any(fnmatchcase(name, pattern) for name in names for pattern in allow):
            return True
        faults.setdefault(kind, []).append(said)
        return False

    found: dict[str, tuple[str, Tensor]] = {}
    for theirs, tensor in tensors.items():
        ours = table.ours(theirs, bare)
        if table.skips(theirs):
            report.ignored[theirs] = "no weights of the network"
        elif ours is None or ours not in wanted:
            if allowed("unknown", theirs, theirs):
                report.ignored[theirs] = "allowed to be unknown"
        elif ours not in found:
            found[ours] = (theirs, tensor)
        elif _equal(tensor, found[ours][1]):
            report.ignored[theirs] = "a second copy of another tensor"
        else:
            allowed("unequal copies", f"{found[ours][0]} and {theirs}", theirs)

    head = _other_head(wanted, found) if other_head else []
    state = {}
    for ours, like in wanted.items():
        if ours not in found:
            theirs = table.theirs(ours, bare)
            if ours.endswith("num_batches_tracked"):
                state[ours] = torch.zeros((), dtype=torch.long)  # a counter, no weight
            elif table.never and table.never in ours:
                report.kept[ours] = "the source has no non-local blocks"
            elif fill := next((f for f in table.fills if f.fits(ours, found)), None):
                state[ours] = torch.full(like.shape, fill.value, dtype=like.dtype)
                report.filled[ours] = fill.why
            elif allowed("missing", _both(ours, theirs), ours, *theirs):
                report.kept[ours] = "allowed to be missing"
            continue
        theirs, tensor = found[ours]
        if ours in head:
            why = f"{len(tensor)} classes in the file, {len(like)} in the network"
            report.kept[ours] = report.ignored[theirs] = why
        elif (value := _shaped(ours, tensor, like)) is None:
            whole = " of whole numbers" if not tensor.is_floating_point() else ""
            said = f"{theirs} {tuple(tensor.shape)}{whole}, where {tuple(like.shape)} is due"
            if allowed("misshapen", said, ours, theirs):
                report.kept[ours] = report.ignored[theirs] = "allowed to have another shape"
        elif torch.isfinite(value).all() or allowed("not finite", theirs, ours, theirs):
            state[ours] = value
            report.loaded[ours] = theirs
            if tensor.ndim < like.ndim:
                report.inflated.append(ours)
    if faults:
        said = "; ".join(f"{kind}: {_some(names, 8)}" for kind, names in faults.items())
        raise ValueError(
            f"the tensors do not fit as {table.name}: {said}; nothing was loaded, so check that "
            "file, source and network belong together"
        )
    return state, report


def _shaped(ours: str, tensor: Tensor, like: Any) -> Tensor | None:
    """The tensor in the shape and type of ours, or None where that would be a guess."""
    if like.is_floating_point() and not tensor.is_floating_point():
        return None
    if tensor.ndim == 4 and like.ndim == 5 and tensor.shape == like.shape[:2] + like.shape[3:]:
        tensor = (tensor / like.shape[2]).unsqueeze(2).expand(like.shape)
    elif ours.endswith("w_f") and tensor.shape[:2] == (1, like.numel()):
        tensor = tensor.flatten()  # a 1x1 convolution elsewhere
    if tensor.shape != like.shape:
        return None
    return tensor.to(like.dtype, copy=True).contiguous()


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)


def _other_head(wanted: Mapping[str, Any], found: Mapping[str, tuple[str, Tensor]]) -> list[str]:
    """The classifier's names, if its tensors differ from ours in the number of classes only."""
    names = ["fc.weight", "fc.bias"]
    if not all(name in wanted and name in found for name in names):
        return []
    weight, bias = (tuple(found[name][1].shape) for name in names)
    classes, channels = wanted["fc.weight"].shape
    return names if weight == (*bias, channels) != (classes, channels) else []


def _both(ours: str, theirs: Sequence[str]) -> str:
    other = [name for name in theirs if name != ours]
    return f"{ours} ({' or '.join(other)})" if other else ours


def _some(names: Sequence[str], most: int) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
