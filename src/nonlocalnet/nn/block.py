"""The non-local block z = W_z y + x (Eq. 6, Figure 2), in one, two or three dimensions.

Source   Wang et al., CVPR 2018, Sec. 3.3.
Letters  B batch, C channels, D inner channels, S the spatial axes (T, H, W), (H, W) or (L,),
         N positions of x, M key positions, R positions asked for.
Floor    nn.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import difflib
import inspect
import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from numbers import Integral, Real
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocalnet.ops.operation import ENGINES, Engine, nonlocal_op
from nonlocalnet.ops.pairwise import (
    KINDS,
    SOFTMAX,
    Kind,
    accumulator,
    full_precision,
    narrowed,
    nonlocal_weights,
)

Extent = Literal["spacetime", "space", "time"]
EXTENTS: tuple[str, ...] = get_args(Extent)
Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class NonLocalBlock(nn.Module):
    """z_i = W_z y_i + x_i, where y is the non-local operation on x (Eq. 6).

    The block starts as the identity, bit for bit: the scale of its batch norm, or W_z itself
    without one, is zero. Weights start as in He et al. 2015 (Eq. 10 there: variance 2 / fan-in),
    biases at zero; `reset_parameters(0.01)` draws them as the released code of the paper.

    Args:
        channels: C, of the input and the output.
        ndim: 1 for (B, C, L), 2 for (B, C, H, W), 3 for (B, C, T, H, W).
        kind: The pairwise function, see `nonlocal_weights`.
        inner_channels: D; None takes C / 2, as the paper.
        subsample: Factor of the spatial max-pool of the keys, 1 for none; never along time. An
            axis shorter than it is not pooled.
        subsample_input: False pools after phi and g (the paper's text), True pools x before them
            (the released code); they are not equal.
        scale: Factor on the exponent or the dot product. None is D ** -0.5 for the embedded
            gaussian (released code) and 1 for the others; the paper's text is 1.0.
        extent: The keys of a query: "spacetime" all, "space" those of its own frame, "time" those
            at its own place (never pooled).
        group_frames: With extent "spacetime" in 3-D, the keys of a query are those of its own
            group of so many frames; the last group may be shorter. None is one group. (Released
            128-frame networks: 4 in res3, for memory.)
        norm: "batch" as the paper, or None (the released 128-frame networks).
        engine: See `nonlocal_op`.

    Example:
        >>> x = torch.randn(2, 8, 4, 6, 6)
        >>> torch.equal(NonLocalBlock(8)(x), x)
        True
    """

    def __init__(
        self,
        channels: int,
        ndim: int = 3,
        kind: Kind = "embedded_gaussian",
        inner_channels: int | None = None,
        subsample: int = 2,
        subsample_input: bool = False,
        scale: float | None = None,
        extent: Extent = "spacetime",
        norm: Literal["batch"] | None = "batch",
        engine: Engine = "auto",
        group_frames: int | None = None,
    ) -> None:
        super().__init__()
        inner = max(channels // 2, 1) if inner_channels is None else inner_channels
        _check_options(channels, inner, ndim, kind, subsample, scale, extent, norm, engine)
        _check_groups(group_frames, ndim, extent)
        self.channels = channels
        self.inner_channels = inner
        self.ndim = ndim
        self.kind: Kind = kind
        self.subsample = subsample
        self.subsample_input = subsample_input
        self.scale = _default_scale(kind, inner) if scale is None else scale
        self.extent: Extent = extent
        self.engine: Engine = engine
        self.group_frames = group_frames

        conv = CONV[ndim]
        self.embeds = kind not in ("gaussian", "gaussian_distance")
        self.pools_x = subsample_input or not self.embeds
        if self.embeds:
            self.theta = conv(channels, inner, kernel_size=1)
            self.phi = conv(channels, inner, kernel_size=1)
        self.g = conv(channels, inner, kernel_size=1)
        self.w_f = nn.Parameter(torch.empty(2 * inner)) if kind == "concatenation" else None
        self.w_z = conv(inner, channels, kernel_size=1)
        self.norm = BATCH_NORM[ndim](channels) if norm == "batch" else None
        self.reset_parameters()

    def reset_parameters(self, std: float | None = None) -> None:
        """Draw the starting weights again, then make the block the identity (Sec. 4.1).

        Args:
            std: Deviation of all weights, 0.01 in the released code; None is He et al. 2015.
        """
        for module in self.children():
            if isinstance(module, Conv):
                if std is None:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                else:
                    nn.init.normal_(module.weight, std=std)
                nn.init.zeros_(bias_of(module))
        if self.w_f is not None:
            nn.init.normal_(self.w_f, std=math.sqrt(2 / len(self.w_f)))
        if self.norm is None:
            nn.init.zeros_(self.w_z.weight)
        else:
            self.norm.reset_parameters()
            nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, *S) -> (B, C, *S)
        """The block's output, of the shape, type and memory layout of x."""
        self._check_input(x)
        theta, phi, g, _ = self._embed(x)
        # Three features multiplied, then summed by W_z, leave float16: both are done in float32.
        wide = g.dtype == torch.float16 and self.kind not in SOFTMAX
        y = self._operate(theta, phi, g.float() if wide else g, frames=x.shape[2])
        with full_precision(x) if wide else nullcontext():
            z = narrowed(_project_back(y, self.w_z, x), g.dtype)
        return x + (z if self.norm is None else self.norm(z))

    def weights(self, x: Tensor, positions: Tensor) -> Tensor:  # (R, ndim) -> (B, R, *key grid)
        """Rows f(x_i, x_j) / C(x) for the queries at `positions`, laid out over the keys.

        Args:
            x: The block's input, (B, C, *S).
            positions: Whole feature cells, one row per query, in the order of the axes of x.

        Returns:
            The weights; zero for keys outside the extent. `key_centres` says where the keys lie.

        Raises:
            ValueError: x does not fit the block, or a position lies outside x.
        """
        self._check_input(x)
        shape = x.shape[2:]
        if positions.ndim != 2 or positions.shape[1] != self.ndim:
            raise ValueError(
                f"positions must be (R, {self.ndim}), got {tuple(positions.shape)}: one row per "
                "query, one column per axis"
            )
        bound = torch.tensor(shape, device=positions.device)
        if bool(((positions < 0) | (positions >= bound)).any()):
            raise ValueError(f"a position lies outside the feature map {tuple(shape)}")
        theta, phi, _, grid = self._embed(x)
        rows = torch.zeros_like(positions[:, 0])
        for axis, size in enumerate(shape):
            rows = rows * size + positions[:, axis]
        if self.extent == "spacetime" and self.group_frames is None:
            return self._rows(theta[:, rows], phi).unflatten(2, grid)
        keys = torch.arange(math.prod(grid), device=x.device).view(grid[0], -1)
        weights = accumulator(phi).new_zeros(len(x), len(rows), keys.numel())
        group = self._group(shape[0])
        for r, row in enumerate(rows.tolist()):
            frame, place = divmod(row, math.prod(shape[1:]))
            first = frame - frame % group
            own = keys[:, place] if self.extent == "time" else keys[first : first + group].flatten()
            weights[:, r, own] = self._rows(theta[:, row, None], phi[:, own])[:, 0]
        return weights.unflatten(2, grid)

    def key_grid(self, shape: Sequence[int]) -> list[int]:
        """How many keys an input with these axes has along each.

        Example:
            >>> NonLocalBlock(2).key_grid([5, 5, 1])
            [5, 2, 1]
        """
        return [size // w for size, w in zip(shape, self._windows(shape), strict=True)]

    def key_centres(self, shape: Sequence[int]) -> Tensor:  # (*key grid, ndim)
        """Where the keys of an input with these axes lie, in feature cells.

        Example:
            >>> NonLocalBlock(2, ndim=1).key_centres([5]).flatten().tolist()
            [0.5, 2.5]
        """
        axes = [
            torch.arange(keys) * window + (window - 1) / 2
            for keys, window in zip(self.key_grid(shape), self._windows(shape), strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)

    def extra_repr(self) -> str:
        """The options, for print(model)."""
        return (
            f"{self.channels}, ndim={self.ndim}, kind={self.kind!r}, "
            f"inner_channels={self.inner_channels}, subsample={self.subsample}, "
            f"subsample_input={self.subsample_input}, scale={self.scale:.4g}, "
            f"extent={self.extent!r}, engine={self.engine!r}, group_frames={self.group_frames}"
        )

    def _rows(self, theta: Tensor, phi: Tensor) -> Tensor:
        return nonlocal_weights(theta, phi, kind=self.kind, scale=self.scale, w_f=self.w_f)

    def _windows(self, shape: Sequence[int]) -> list[int]:
        """Pooling window of each axis: none along time, none on an axis too short for it."""
        spatial = [
            size >= self.subsample and not (self.ndim == 3 and axis == 0)
            for axis, size in enumerate(shape)
        ]
        pools = self.extent != "time"
        return [self.subsample if pools and inside else 1 for inside in spatial]

    def _embed(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Queries (B, N, D), keys (B, M, D), values (B, M, D), and the grid of the keys."""
        shape = list(x.shape[2:])
        windows, grid = self._windows(shape), self.key_grid(shape)
        tokens = x.flatten(2).mT  # (B, N, C)
        pooled = _pool(tokens, shape, windows) if self.pools_x else tokens  # (B, M or N, C)
        if not self.embeds:
            g = _project(pooled if self.subsample_input else tokens, self.g)
            return tokens, pooled, g if self.subsample_input else _pool(g, shape, windows), grid
        if self.subsample_input:
            theta, keys = _project(tokens, self.theta), _project(pooled, self.phi, self.g)
        else:
            theta, keys = _project(tokens, self.theta, self.phi, self.g).tensor_split(
                [self.inner_channels], dim=-1
            )
            keys = _pool(keys, shape, windows)
        phi, g = keys.chunk(2, dim=-1)
        return theta, phi, g, grid

    def _operate(self, theta: Tensor, phi: Tensor, g: Tensor, frames: int) -> Tensor:  # (B, N, C)
        """Equation 1 within the extent: what a query may not look across joins the batch."""
        batch, group = len(theta), self._group(frames)
        whole = frames - frames % group
        if whole < frames:  # the last group is shorter
            theta, theta_last = theta.tensor_split([theta.shape[1] // frames * whole], dim=1)
            phi, phi_last = phi.tensor_split([phi.shape[1] // frames * whole], dim=1)
            g, g_last = g.tensor_split([g.shape[1] // frames * whole], dim=1)
            y = self._operate(theta, phi, g, whole)
            y_last = self._operate(theta_last, phi_last, g_last, frames - whole)
            return torch.cat([y, y_last], dim=1)

        def fold(part: Tensor) -> Tensor:
            if self.extent == "time":
                return part.unflatten(1, (frames, -1)).transpose(1, 2).flatten(0, 1)
            if group == frames:
                return part
            return part.unflatten(1, (frames // group, -1)).flatten(0, 1)

        y = nonlocal_op(
            fold(theta),
            fold(phi),
            fold(g),
            kind=self.kind,
            scale=self.scale,
            w_f=self.w_f,
            engine=self.engine,
        )
        if len(y) == batch:
            return y
        y = y.unflatten(0, (batch, -1))
        return (y.transpose(1, 2) if self.extent == "time" else y).flatten(1, 2)

    def _group(self, frames: int) -> int:
        """How many frames a query may look across."""
        if self.extent == "space":
            return 1
        return frames if self.group_frames is None else min(self.group_frames, frames)

    def _check_input(self, x: Tensor) -> None:
        if x.ndim != self.ndim + 2 or x.shape[1] != self.channels:
            axes = {1: "L", 2: "H, W", 3: "T, H, W"}[self.ndim]
            raise ValueError(f"this block takes (B, {self.channels}, {axes}), got {tuple(x.shape)}")


def check_option_names(options: Iterable[str], others: Iterable[str] = ()) -> None:
    """Raise a ValueError for what is no option of NonLocalBlock, with the nearest that is.

    `others` are the caller's own options, which may have been meant.
    """
    known = list(inspect.signature(NonLocalBlock).parameters)
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *others], 3, cutoff=0.0)
            raise ValueError(f"there is no option {name!r}; nearest: {', '.join(near)}")


def bias_of(conv: Conv) -> Tensor:
    """The bias of a convolution that has one, as all of a block's do."""
    assert conv.bias is not None
    return conv.bias


def _project(tokens: Tensor, *convs: Conv) -> Tensor:
    """The 1x1 convolutions of (B, N, C) tokens side by side, in one matrix product."""
    weights, biases = [conv.weight.flatten(1) for conv in convs], [bias_of(conv) for conv in convs]
    if len(convs) == 1:  # joining one would still copy it
        return F.linear(tokens, weights[0], biases[0])
    return F.linear(tokens, torch.cat(weights), torch.cat(biases))


def _project_back(y: Tensor, conv: Conv, x: Tensor) -> Tensor:  # y (B, N, D)
    """The 1x1 convolution of tokens as a map of the shape and memory layout of x."""
    weight, bias = conv.weight.flatten(1).to(y.dtype), bias_of(conv).to(y.dtype)
    if x.stride(1) == 1:  # channels last: tokens as they are
        return F.linear(y, weight, bias).mT.unflatten(2, x.shape[2:])
    z = torch.baddbmm(bias[:, None], weight.expand(len(y), -1, -1), y.mT)
    return z.unflatten(2, x.shape[2:])


def _pool(tokens: Tensor, shape: list[int], windows: list[int]) -> Tensor:  # (B, N, D)
    """Max-pool tokens over their grid: (B, M, D).

    Always as images in channels-last layout, frames folded into the batch: pooling clips or
    contiguous maps takes several times as long.
    """
    if all(window == 1 for window in windows):
        return tokens
    height, width = shape[-2:] if len(shape) > 1 else (1, shape[0])
    window = windows[-2:] if len(shape) > 1 else [1, windows[0]]
    images = tokens.reshape(-1, height, width, tokens.shape[2]).permute(0, 3, 1, 2)
    pooled = F.max_pool2d(images, window)
    # Said in full, not as -1: a head may be given no region at all.
    keys = tokens.shape[1] // (height * width) * pooled.shape[2] * pooled.shape[3]
    return pooled.permute(0, 2, 3, 1).reshape(len(tokens), keys, tokens.shape[2])


def _check_groups(group_frames: int | None, ndim: int, extent: str) -> None:
    if group_frames is None:
        return
    if ndim < 3 or extent != "spacetime":
        raise ValueError(
            f"group_frames={group_frames} needs ndim=3 and extent='spacetime', got ndim={ndim} and "
            f"extent={extent!r}; leave it out"
        )
    if not isinstance(group_frames, Integral) or group_frames < 1:
        raise ValueError(f"group_frames must be a whole number of 1 or more, got {group_frames!r}")


def _default_scale(kind: Kind, inner: int) -> float:
    return inner**-0.5 if kind == "embedded_gaussian" else 1.0


def _check_options(
    channels: int,
    inner: int,
    ndim: int,
    kind: str,
    subsample: int,
    scale: float | None,
    extent: str,
    norm: str | None,
    engine: str,
) -> None:
    def choice(name: str, value: object, allowed: Sequence[object]) -> None:
        if value not in allowed:
            names = ", ".join(repr(option) for option in allowed)
            raise ValueError(f"{name}={value!r} is unknown; choose one of {names}")

    choice("ndim", ndim, (1, 2, 3))
    choice("kind", kind, KINDS)
    choice("extent", extent, EXTENTS)
    choice("norm", norm, ("batch", None))
    choice("engine", engine, ENGINES)
    for name, value in (
        ("channels", channels),
        ("inner_channels", inner),
        ("subsample", subsample),
    ):
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a whole number of 1 or more, got {value!r}")
    if not (scale is None or isinstance(scale, Real)):
        raise ValueError(f"scale must be a number, or None, got {scale!r}")
    if ndim < 3 and extent != "spacetime":
        raise ValueError(
            f"extent={extent!r} needs a time axis: ndim=3, got ndim={ndim} (use 'spacetime')"
        )
    if kind == "concatenation" and scale not in (None, 1.0):
        raise ValueError(f"concatenation takes scale 1.0 only (w_f carries it), got {scale}")
