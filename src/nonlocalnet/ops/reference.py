"""Equations 1 to 5 as literal loops over positions: slow, and what everything else is held to.

Source   Wang et al., CVPR 2018, Sec. 3.1 and 3.2.
Floor    ops. Every number is a 0-d tensor, so autograd runs through the loops.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nonlocalnet.ops.pairwise import Kind


def nonlocal_by_loops(
    theta: Tensor,  # (N, D)
    phi: Tensor,  # (M, D)
    g: Tensor,  # (M, C)
    *,
    kind: Kind,
    scale: float = 1.0,
    w_f: Tensor | None = None,  # (2D,)
    extent: Callable[[int], Sequence[int]] | None = None,
) -> Tensor:  # (N, C)
    """y_i = sum over j of f(x_i, x_j) g(x_j) / C(x), for one clip (Eq. 1).

    Args:
        theta: Queries.
        phi: Keys.
        g: Values.
        kind: Which of Eqs. 2-5.
        scale: Factor on the exponent, the dot product or the squared distance.
        w_f: The vector of Eq. 5.
        extent: The keys j that query i sums over; None is all of them.

    Returns:
        One response per query.

    Example:
        >>> one = torch.ones(2, 1, dtype=torch.float64)
        >>> nonlocal_by_loops(one, one, one, kind="dot_product").flatten().tolist()
        [1.0, 1.0]
    """
    responses: list[Tensor] = []
    for i in range(len(theta)):
        keys = range(len(phi)) if extent is None else extent(i)
        f = [pair(theta[i], phi[j], kind, scale, w_f) for j in keys]
        normaliser = len(keys) if kind in ("dot_product", "concatenation") else sum(f)
        total = torch.zeros_like(g[0])
        for f_ij, j in zip(f, keys, strict=True):
            total = total + f_ij * g[j]
        responses.append(total / normaliser)
    return torch.stack(responses)


def pair(
    theta_i: Tensor,  # (D,)
    phi_j: Tensor,  # (D,)
    kind: Kind,
    scale: float,
    w_f: Tensor | None,
) -> Tensor:  # ()
    """f(x_i, x_j) of one pair of positions."""
    if kind == "dot_product":
        return scale * torch.dot(theta_i, phi_j)  # Eq. 4
    if kind == "concatenation":
        assert w_f is not None
        return torch.relu(torch.dot(w_f, torch.cat([theta_i, phi_j])))  # Eq. 5
    if kind == "gaussian_distance":
        difference = theta_i - phi_j
        return torch.exp(-scale * torch.dot(difference, difference) / 2)  # Sec. 3.2, below Eq. 2
    return torch.exp(scale * torch.dot(theta_i, phi_j))  # Eqs. 2 and 3
