"""Weights f(x_i, x_j) / C(x): how much position j contributes to position i, as one matrix.

Source   Wang, Girshick, Gupta, He, "Non-local Neural Networks", CVPR 2018, Sec. 3.2, Eqs. 2-5.
Letters  B batch, N query positions (T*H*W), M key positions (after subsampling), R rows asked for,
         D inner channels.
Floor    ops: pure functions of tensors; no parameters, no state, no device moves.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor

Kind = Literal["gaussian", "embedded_gaussian", "dot_product", "concatenation", "gaussian_distance"]
KINDS: tuple[str, ...] = get_args(Kind)
SOFTMAX = ("gaussian", "embedded_gaussian", "gaussian_distance")
"""Kinds whose rows sum to 1; the others divide by the number of keys."""


def nonlocal_weights(
    theta: Tensor,  # (B, N, D)
    phi: Tensor,  # (B, M, D)
    *,
    kind: Kind,
    scale: float = 1.0,
    w_f: Tensor | None = None,  # (2D,), concatenation only
    rows: Tensor | None = None,  # (R,) long
) -> Tensor:  # (B, R, M)
    """Weights of Eq. 1: f(x_i, x_j) of Eqs. 2-5, divided by C(x).

    | kind | f | C |
    |---|---|---|
    | gaussian, embedded_gaussian | exp(s theta_i . phi_j) | sum over j of f |
    | gaussian_distance | exp(-s norm(theta_i - phi_j)^2 / 2) | sum over j of f |
    | dot_product | s theta_i . phi_j | M |
    | concatenation | ReLU(w_f . [theta_i, phi_j]) | M |

    The two gaussians are one function here: they differ in what the caller passes (x itself, or
    its embeddings). Half-precision input gives float32 weights, also under autocast.

    Args:
        theta: Queries.
        phi: Keys, from the subsampled input.
        kind: Which pairwise function.
        scale: The factor s. 1.0 is the paper; D ** -0.5 is the released code.
        w_f: The vector of Eq. 5.
        rows: Only these queries; None takes all of them.

    Returns:
        The weights; rows of the first three kinds sum to 1.

    Raises:
        ValueError: Shapes disagree, or `scale` or `w_f` do not belong to the kind.

    Example:
        >>> zeros = torch.zeros(1, 4, 3)
        >>> nonlocal_weights(zeros, zeros, kind="gaussian", rows=torch.tensor([2])).tolist()
        [[[0.25, 0.25, 0.25, 0.25]]]
    """
    check_arguments(theta, phi, kind, scale, w_f)
    if rows is not None:
        theta = theta[:, rows]
    with full_precision(theta):
        theta, phi = accumulator(theta), accumulator(phi)
        if kind == "dot_product":
            return scale * theta @ phi.mT / phi.shape[1]
        if kind == "concatenation":
            assert w_f is not None
            w_theta, w_phi = w_f.to(theta.dtype).chunk(2)
            pairs = (theta @ w_theta)[:, :, None] + (phi @ w_phi)[:, None, :]
            return pairs.relu() / phi.shape[1]
        if kind == "gaussian_distance":
            theta, phi = centred(theta, phi)
            # The query's own |theta_i|^2 / 2 is the same for every j, so the softmax drops it.
            logits = theta @ phi.mT - phi.square().sum(-1)[:, None, :] / 2
        else:
            logits = theta @ phi.mT
        return torch.softmax(scale * logits, dim=-1)


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Autocast off on the tensor's device; "meta", where there is no data, knows no autocast."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def accumulator(x: Tensor) -> Tensor:
    """The tensor in the precision sums are taken in: float32 for halves, else its own."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def narrowed(y: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in another type; what float16 cannot hold becomes its largest number, not inf.

    Kinds that are no mean of the values multiply three features, and inf times a scale of zero
    would be NaN.
    """
    if dtype == torch.float16 and y.dtype != dtype:
        largest = torch.finfo(dtype).max
        y = y.clamp(-largest, largest)
    return y.to(dtype)


def centred(theta: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
    """Both moved by the mean key: distances stay, and |phi|^2 no longer swamps their digits."""
    mean = phi.detach().mean(dim=1, keepdim=True)
    return theta - mean, phi - mean


def check_arguments(
    theta: Tensor, phi: Tensor, kind: str, scale: float, w_f: Tensor | None
) -> None:
    """Raise a ValueError that names the broken rule, what came, and what to do."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; choose one of {', '.join(KINDS)}")
    if theta.ndim != 3 or phi.ndim != 3 or theta.shape[::2] != phi.shape[::2]:
        raise ValueError(
            "theta (B, N, D) and phi (B, M, D) must agree in B and D, got "
            f"{tuple(theta.shape)} and {tuple(phi.shape)}"
        )
    if phi.shape[1] == 0:
        raise ValueError("phi holds no key (M = 0); the input is smaller than one pooled cell")
    if kind != "concatenation":
        if w_f is not None:
            raise ValueError(f"w_f belongs to kind 'concatenation'; leave it out for {kind!r}")
        return
    if w_f is None or w_f.shape != (2 * theta.shape[2],):
        came = "None" if w_f is None else str(tuple(w_f.shape))
        raise ValueError(f"concatenation needs w_f of shape ({2 * theta.shape[2]},), got {came}")
    if scale != 1.0:
        raise ValueError(f"concatenation takes scale 1.0 only (w_f carries it), got {scale}")
