"""How another project names the tensors of our networks: pairs of names, read in both directions.

A pair is (our name, their name). `{s}` stands for the stage, `{b}` for the residual block, `{c}`
for one of its three convolutions, `{w}` for weight or bias, `{n}` for the tensors of a batch norm;
a table says in `words` where a project spells one of them in its own way.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Pair = tuple[str, str]

IMAGENET_PIXELS = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""Of RGB in 0 .. 1, as networks for images are fed."""
RELEASED_CLIP = {"mean": 0.45, "std": 0.225, "short_side": (256, 320)}
"""The preprocessing of the paper's released code, and of all that come from it."""
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
WORDS: Mapping[str, Mapping[str, str]] = {
    "s": {stage: stage for stage in "2345"},
    "c": {conv: conv for conv in "123"},
    "w": {"weight": "weight", "bias": "bias"},
    "n": {name: name for name in NORM},
}


@dataclass(frozen=True, kw_only=True)
class Fill:
    """A tensor that a source never has, because its value is fixed there."""

    name: str  # the end of our names
    value: float
    beside: str  # a neighbour that must be in the file
    unless: tuple[str, ...]  # no name in the file may end so
    why: str

    def fits(self, ours: str, found: Mapping[str, Any]) -> bool:
        """Whether our tensor may be filled, given our names of what the file has."""
        before = ours.removesuffix(self.name)
        return (
            before != ours
            and before + self.beside in found
            and not any(name.endswith(self.unless) for name in found)
        )


@dataclass(frozen=True, kw_only=True)
class Table:
    """One source of weights: its names, what else its files hold, and how it feeds its networks."""

    name: str
    trunk: tuple[Pair, ...] = ()
    place: Pair | None = None  # what stands before a block's names inside a network
    block: tuple[Pair, ...] = ()  # names of a block by itself
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()  # patterns of entries that are no weights
    fills: tuple[Fill, ...] = ()
    never: str | None = None  # the part of a network that this source does not know
    preset: str | None = None  # the layout its networks have; None: any, or those of images
    presets: tuple[Pair, ...] = ()  # (pattern in the file's name or settings, layout instead)
    preset_2d: str | None = None  # the layout of its networks with 2-D kernels
    unpooled: str | None = None  # their names of a block that does not pool its keys
    clip: Mapping[str, Any] = field(default_factory=dict)  # preprocessing, as in ClipConfig

    def ours(self, key: str, bare: bool = False) -> str | None:
        """Our name of their tensor, or None; `bare` is a block outside any network."""
        return next(_translations(key, self._theirs_to_ours[bare]), None)

    def theirs(self, key: str, bare: bool = False) -> list[str]:
        """Their names of our tensor, the usual one first; none where they have no such tensor."""
        return list(_translations(key, self._ours_to_theirs[bare]))

    @property
    def layouts(self) -> set[str]:
        """Every layout that its networks may have; none where that may be any."""
        layouts = (self.preset, self.preset_2d, *(layout for _, layout in self.presets))
        return {layout for layout in layouts if layout}

    def skips(self, key: str) -> bool:
        """Whether an entry of their files is no weight."""
        return any(re.fullmatch(pattern, key) for pattern in self.ignored)

    @cached_property
    def pairs(self) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
        """The pairs of a network, and of a block by itself."""
        before = self.place or ("", "")
        inside = tuple((before[0] + ours, before[1] + theirs) for ours, theirs in self.block)
        return self.trunk + (inside if self.place else ()), self.block

    @cached_property
    def _theirs_to_ours(self):
        back = {
            name: {theirs: ours for ours, theirs in words.items()}
            for name, words in {**WORDS, **self.words}.items()
        }
        return [[_rule(theirs, ours, back) for ours, theirs in pairs] for pairs in self.pairs]

    @cached_property
    def _ours_to_theirs(self):
        words = {**WORDS, **self.words}
        return [[_rule(ours, theirs, words) for ours, theirs in pairs] for pairs in self.pairs]


def _rule(
    source: str, target: str, words: Mapping[str, Mapping[str, str]]
) -> tuple[re.Pattern[str], str, Mapping[str, Mapping[str, str]]]:
    """A name with placeholders as a pattern, the name to write instead, and the words to change."""
    parts = re.split(r"\{(\w+)\}", source)
    pattern = "".join(
        re.escape(part)
        if i % 2 == 0
        else f"(?P<{part}>{'|'.join(map(re.escape, words[part])) if part in words else r'[0-9]+'})"
        for i, part in enumerate(parts)
    )
    return re.compile(pattern), target, words


def _translations(key: str, rules) -> Iterator[str]:
    for pattern, target, words in rules:
        if match := pattern.fullmatch(key):
            found = match.groupdict()
            yield target.format(**{k: words[k][v] if k in words else v for k, v in found.items()})
