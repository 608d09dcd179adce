"""The non-local operation y_i = sum over j of f(x_i, x_j) g(x_j) / C(x), of positions and channels.

Source   Wang et al., CVPR 2018, Eq. 1.
Letters  B batch, N query positions, M key positions, D channels of theta and phi, C of g.
Floor    ops.
"""

from typing import Literal, get_args

from torch import Tensor

from nonlocalnet.ops.exact import exact
from nonlocalnet.ops.pairwise import (
    Kind,
    accumulator,
    check_arguments,
    full_precision,
    narrowed,
    nonlocal_weights,
)

Engine = Literal["dense", "exact", "auto"]
ENGINES: tuple[str, ...] = get_args(Engine)


def nonlocal_op(
    theta: Tensor,  # (B, N, D)
    phi: Tensor,  # (B, M, D)
    g: Tensor,  # (B, M, C)
    *,
    kind: Kind = "embedded_gaussian",
    scale: float = 1.0,
    w_f: Tensor | None = None,  # (2D,), concatenation only
    engine: Engine = "auto",
) -> Tensor:  # (B, N, C)
    """Response at every query position (Eq. 1); see `nonlocal_weights` for the kinds.

    Args:
        theta: Queries.
        phi: Keys.
        g: Values, one per key.
        kind: Which pairwise function.
        scale: Factor on the exponent or the dot product; 1.0 is the paper.
        w_f: The vector of Eq. 5.
        engine: "dense" stores the N x M weights; "exact" never does; "auto" takes the faster.

    Returns:
        Responses, in the type of g; beyond the range of float16, its largest number.

    Raises:
        ValueError: Shapes disagree, or an argument does not belong to the kind.

    Example:
        >>> import torch
        >>> theta, phi = torch.zeros(1, 2, 3), torch.zeros(1, 4, 3)
        >>> g = torch.tensor([[[1.0], [2.0], [3.0], [6.0]]])
        >>> nonlocal_op(theta, phi, g).flatten().tolist()
        [3.0, 3.0]
    """
    check_arguments(theta, phi, kind, scale, w_f)
    if g.ndim != 3 or g.shape[:2] != phi.shape[:2]:
        raise ValueError(
            "phi (B, M, D) and g (B, M, C) must agree in B and M, got "
            f"{tuple(phi.shape)} and {tuple(g.shape)}"
        )
    if engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r}; choose one of {', '.join(ENGINES)}")
    if engine == "auto":
        engine = "exact" if exact_is_faster(theta, phi, g, kind) else "dense"
    with full_precision(theta):
        if engine == "exact":
            return exact(theta, phi, g, kind=kind, scale=scale, w_f=w_f)
        weights = nonlocal_weights(theta, phi, kind=kind, scale=scale, w_f=w_f)
        return narrowed(weights @ accumulator(g), g.dtype)


LARGE = 2**22
"""Softmax weights (B N M) from which "auto" takes "exact": 16 MiB of float32."""

FEW_KEYS = 150
"""N M / (N + M) up to which storing the pairs is the faster way to concatenate."""


def exact_is_faster(theta: Tensor, phi: Tensor, g: Tensor, kind: Kind) -> bool:
    """Whether "auto" takes "exact"; docs/operation.md has the measurements.

    The dot product is two chains of matrix products, so their lengths decide: theta (phi^T g)
    against (theta phi^T) g. Concatenation trades N M pairs for some passes over N + M rows. The
    softmax kinds do the same products either way: storing their weights is a little faster until
    there are so many that moving them through memory costs more than computing them again.
    """
    (batch, queries, depth), (keys, channels) = theta.shape, g.shape[1:]
    if kind == "dot_product":
        return (queries + keys) * depth * channels <= queries * keys * (depth + channels)
    if kind == "concatenation":
        return queries * keys >= FEW_KEYS * (queries + keys)
    return batch * queries * keys >= LARGE
