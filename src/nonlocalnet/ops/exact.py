"""The non-local operation without its N x M matrix, neither forward nor backward.

| kind | how | stored beyond inputs and outputs |
|---|---|---|
| dot_product | theta (phi^T g) / M | D x C |
| concatenation | `sorted_relu` | 2 x M x C |
| embedded_gaussian, gaussian | fused attention if D = C, else `softmax_rows` | a tile of rows |
| gaussian_distance | `softmax_rows`, -phi_j . phi_j / 2 as a bias of the key | a tile of rows |

Floor    ops. Sums are taken in float32 when the input is float16 or bfloat16.
"""

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from nonlocalnet.ops.pairwise import Kind, accumulator, centred, narrowed
from nonlocalnet.ops.softmax_rows import softmax_rows
from nonlocalnet.ops.sorted_relu import sorted_relu

FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
"""The attention kernels that store no N x M; the third, MATH, does and is shut out."""


def exact(
    theta: Tensor,  # (B, N, D)
    phi: Tensor,  # (B, M, D)
    g: Tensor,  # (B, M, C)
    *,
    kind: Kind,
    scale: float,
    w_f: Tensor | None,  # (2D,)
) -> Tensor:  # (B, N, C)
    """Equation 1 in memory that grows with N + M; arguments as checked by `nonlocal_op`."""
    if kind == "dot_product":
        summary = accumulator(phi).mT @ (accumulator(g) * (scale / phi.shape[1]))  # (B, D, C)
        return narrowed(accumulator(theta) @ summary, g.dtype)
    if kind == "concatenation":
        assert w_f is not None
        theta, phi = accumulator(theta), accumulator(phi)
        w_theta, w_phi = w_f.to(theta.dtype).chunk(2)
        values = accumulator(g) / phi.shape[1]
        y = sorted_relu(theta @ w_theta, phi @ w_phi, values.to(theta.dtype))
        return narrowed(y, g.dtype)
    if kind != "gaussian_distance" and can_fuse(theta, phi, g):
        with sdpa_kernel(FUSED):
            query, key, value = (part[:, None] for part in (theta, phi, g))  # one head
            return scaled_dot_product_attention(query, key, value, scale=scale)[:, 0]
    if kind == "gaussian_distance":
        theta, phi = centred(accumulator(theta), accumulator(phi))
        key_bias = phi.square().sum(-1) / -2
    else:
        key_bias = accumulator(phi[..., 0].detach()).new_zeros(phi.shape[:2])
    return softmax_rows(theta, phi, g, key_bias, scale)


def can_fuse(theta: Tensor, phi: Tensor, g: Tensor) -> bool:
    """Whether one of the `FUSED` kernels takes these tensors.

    The one for CPUs needs queries and values of equal width; its gradients of half-precision
    activations around 1e4 are not finite, so those take our own. Those for CUDA need a width that
    fills whole 16-byte lines as well, and no doubles.
    """
    if theta.shape[2] != g.shape[2] or not theta.dtype == phi.dtype == g.dtype:
        return False
    if any(part.stride(-1) != 1 for part in (theta, phi, g)):
        return False
    if theta.device.type == "cpu":
        return theta.dtype in (torch.float32, torch.float64)
    lines = theta.shape[2] % 8 == 0
    return theta.device.type == "cuda" and lines and theta.dtype != torch.float64
