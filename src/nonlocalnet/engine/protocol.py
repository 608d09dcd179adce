"""Protocols: which views of a video a test looks at, and how their scores become one (Sec. 4.1)."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from nonlocalnet.data.clips import ClipConfig

Combine = Literal["mean", "max"]
Softmax = Literal["location", "pooled"]
JITTER = "1-clip-jitter"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a score came about; figures of unlike protocols are not comparable."""

    clips: int = 10
    """Clips per video, evenly spread."""
    crops: int = 1
    """1: the whole frame, fully convolutional (the paper). 3: three squares (released code)."""
    combine: Combine = "mean"
    """Of a video's views: the mean, or the largest score of each class."""
    softmax: Softmax = "location"
    """Of a view's locations: softmax at each, then their mean (released code; the paper does not
    say), or one softmax of the network's own logits, which pool the whole frame."""
    jitter: bool = False
    """One clip of one crop with the random start, size, place and mirror of training instead
    (the validation of Figure 4)."""
    seed: int = 0
    """Of that clip, with the video's place in its set."""

    @classmethod
    def parse(
        cls,
        text: str,
        combine: Combine = "mean",
        seed: int = 0,
        softmax: Softmax = "location",
    ) -> "Protocol":
        """From the short name of its views.

        Raises:
            ValueError: Neither CLIPSxCROPS nor 1-clip-jitter; `combine` neither mean nor max;
                `softmax` neither location nor pooled.

        Example:
            >>> Protocol.parse("10x3") == Protocol(clips=10, crops=3)
            True
            >>> str(Protocol.parse("1-clip-jitter"))
            '1-clip-jitter'
        """
        for name, value, known in (
            ("combine", combine, get_args(Combine)),
            ("softmax", softmax, get_args(Softmax)),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}: {value!r}")
        if text == JITTER:
            return cls(clips=1, combine=combine, softmax=softmax, jitter=True, seed=seed)
        clips, _, crops = text.partition("x")
        if not (clips.isdecimal() and int(clips) > 0 and crops in ("1", "3")):
            raise ValueError(
                f"views must be CLIPSx1 (whole frame) or CLIPSx3 (three crops), as 10x1, or "
                f"{JITTER}; got {text!r}"
            )
        return cls(clips=int(clips), crops=int(crops), combine=combine, softmax=softmax)

    def __str__(self) -> str:
        return JITTER if self.jitter else f"{self.clips}x{self.crops}"

    @property
    def views(self) -> tuple[int, int] | None:
        """As `data.clips.video_views` takes them."""
        return None if self.jitter else (self.clips, self.crops)

    def stamp(self, config: ClipConfig) -> str:
        """What stands behind the @ of a metric: views, px, and the rules that are not the default.

        Example:
            >>> Protocol(combine="max").stamp(ClipConfig())
            '10x1x256-max'
        """
        size = config.crop if self.jitter else config.test_short_side
        pooled = "" if self.softmax == "location" else f"-{self.softmax}"
        return f"{self}x{size}{'' if self.combine == 'mean' else f'-{self.combine}'}{pooled}"

    def describe(self, config: ClipConfig, multi_label: bool) -> dict[str, Any]:
        """Its part of results.json."""
        seen = "whole frame" if self.crops == 1 else "three squares"
        turn = "sigmoid" if multi_label else "softmax"
        if self.softmax == "location":
            view, rule = f"{turn} per location, mean over locations", "over views"
        else:
            view, rule = f"mean over locations, {turn}", "mean over views"
        if self.combine == "max":
            rule = "the largest over views"
        return {
            "views": str(self),
            "scores": f"{view}, then {rule}",
            **asdict(config),
            # In place of the training crop, which a test on whole frames never makes.
            "crop": f"random square of {config.crop} px" if self.jitter else seen,
            "clip_starts": "random" if self.jitter else config.start_rule,
            **({"seed": self.seed} if self.jitter else {}),
        }
