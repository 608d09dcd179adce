"""Inference forms of layers: batch norm inside the weights, frames as images, channels last.

A clip (B, C, T, H, W) whose memory is (B, T, H, W, C) is at the same time a batch of B T images,
which 2-D convolutions of one-frame kernels take as they are, and a matrix (B T H W, C), which
matrix products take. So nothing here copies a map, and none of it has a gradient.

Floor    nn.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocalnet.nn.batchnorm import AnyBatchNorm
from nonlocalnet.nn.block import Conv, NonLocalBlock, bias_of
from nonlocalnet.ops.operation import LARGE

OVERWRITTEN = (
    "an optimized network overwrites the input of its blocks, so where they look cannot be told; "
    "ask the network it was made from"
)


def fold_norm(conv: Conv, norm: nn.Module | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does both in eval mode.

    Example:
        >>> conv, norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3).eval()
        >>> weight, bias = fold_norm(conv, norm)
        >>> x = torch.randn(1, 2, 4, 4)
        >>> torch.allclose(F.conv2d(x, weight, bias), norm(conv(x)), atol=1e-6)
        True
    """
    weight = conv.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach().double()
    if norm is not None:
        assert isinstance(norm, AnyBatchNorm)
        assert norm.running_mean is not None and norm.running_var is not None
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        own: Any = norm  # whose scale and shift may be None, whatever torch says of their types
        scale = scale if own.weight is None else scale * own.weight.detach().double()
        shift = 0.0 if own.bias is None else own.bias.detach().double()
        weight = weight * scale.view(-1, *[1] * (weight.ndim - 1))
        bias = (bias - norm.running_mean.double()) * scale + shift
    return weight.to(conv.weight.dtype), bias.to(conv.weight.dtype)


class ImageConv(nn.Module):
    """A 2-D convolution of channels-last images that may add onto another map and end in a ReLU.

    On a CPU with oneDNN the weights are laid out for its kernels once for a size of input, not at
    every call, and addition and ReLU happen while a tile of the result is still in the cache.

    Args:
        weight: (O, I, kh, kw).
        bias: (O,), or None.
        stride: In H and W.
        padding: In H and W, or one for each.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.stride = [stride, stride]
        self.padding = [padding, padding] if isinstance(padding, int) else list(padding)
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.laid_out: dict[torch.Size, Tensor] = {}  # by size of input

    def forward(self, x: Tensor, relu: bool = False, onto: Tensor | None = None) -> Tensor:
        """The result; with `onto`, added to that map in its own memory."""
        if runs_onednn(x):
            library: Any = torch.ops.mkldnn
            given = (x, self._lay_out(x), self.bias, self.padding, self.stride, [1, 1], 1)
            if onto is None:
                return library._convolution_pointwise(*given, "relu" if relu else "none", [], "")
            ending = ("add", 1.0, "relu" if relu else None, [], "")
            return library._convolution_pointwise_.binary(onto, *given, *ending)
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        y = y if onto is None else onto.add_(y)
        return y.relu_() if relu else y

    def _lay_out(self, x: Tensor) -> Tensor:
        """The weights as the kernel for this size of input wants them.

        With those for another size oneDNN would lay them out anew at every call, which takes up to
        ten times as long as the convolution.
        """
        found = self.laid_out.get(x.shape)
        if found is None:
            if len(self.laid_out) == 2:  # a batch in parts has two sizes: the last part is smaller
                self.laid_out.clear()
            library: Any = torch.ops.mkldnn
            options = (self.padding, self.stride, [1, 1], 1, list(x.shape))
            found = library._reorder_convolution_weight(self.weight.contiguous(), *options)
            self.laid_out[x.shape] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes along: no layouts, which cannot be copied."""
        return {**self.__dict__, "laid_out": {}}

    def _apply(self, fn: Any, recurse: bool = True) -> "ImageConv":
        self.laid_out.clear()
        return super()._apply(fn, recurse)


def runs_onednn(x: Tensor) -> bool:
    """Whether oneDNN's own kernels take this input."""
    here = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    return here and x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > 0


class ClipConv(nn.Module):
    """A 3-D convolution with its batch norm, as 2-D ones.

    A kernel over frames alone sees an image whose rows are the frames and whose columns are all
    places of a frame. One over frames and places is a sum, y_t = sum over k of W_k x_(t + k).

    Args:
        conv: Without temporal stride; as many frames of padding as keep T.
        norm: Its batch norm, or None.
    """

    def __init__(self, conv: nn.Conv3d, norm: nn.Module | None = None) -> None:
        super().__init__()
        weight, bias = fold_norm(conv, norm)
        stride, padding = conv.stride[1], int(conv.padding[1])
        reach = conv.kernel_size[0] // 2  # frames to each side
        self.frames_as_rows = reach > 0 and conv.kernel_size[1:] == (1, 1) and stride == 1
        # The middle frame first: it reaches every frame of the result, and brings the bias.
        self.offsets = sorted(range(-reach, reach + 1), key=abs)
        if self.frames_as_rows:
            self.offsets = [0]
            kernels = [ImageConv(weight.flatten(3), bias, 1, (reach, 0))]
        else:
            kernels = [
                ImageConv(weight[:, :, k + reach], None if k else bias, stride, padding)
                for k in self.offsets
            ]
        self.taps = nn.ModuleList(kernels)

    def forward(
        self,
        x: Tensor,  # (B T, C, H, W), channels last
        clips: int,
        relu: bool = False,
        onto: Tensor | None = None,
    ) -> Tensor:
        """The result; with `onto`, added to that map in its own memory."""
        if self.frames_as_rows:
            onto = None if onto is None else as_clips(onto, clips).flatten(3)
            y = self.taps[0](as_clips(x, clips).flatten(3), relu, onto)
            return as_images(y.unflatten(3, x.shape[2:]))
        y = self.taps[0](x, relu and len(self.taps) == 1, onto)
        if len(self.taps) == 1:
            return y
        frames = len(x) // clips
        for offset, tap in zip(self.offsets[1:], self.taps[1:], strict=True):
            for first in range(0, len(x), frames):
                low, high = max(-offset, 0), min(frames - offset, frames)
                if low < high:
                    ours = slice(first + low, first + high)
                    theirs = slice(first + low + offset, first + high + offset)
                    tap(x[theirs], False, y[ours])
        return y.relu_() if relu else y


class FoldedBlock(NonLocalBlock):
    """A non-local block for inference, made by `folded_block`; it overwrites its input.

    The products of the embedded gaussian are taken in the cheaper order. Where keys are few,
    W_theta goes to them, (W_theta x_i + b) . phi_j = x_i . (W_theta^T phi_j) + b . phi_j, and W_z
    to the values, W_z (sum over j of f_ij g_j) = sum over j of f_ij (W_z g_j): no query is
    projected, and nothing is projected back.
    """

    queries: ClipConv
    keys: ClipConv
    back: ClipConv

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T, H, W), channels last
        """The block's output, in the memory of x."""
        self._check_input(x)
        tokens, shape = x.flatten(2).mT, list(x.shape[2:])
        if self._moves_projections(len(x), shape):
            phi, g = self._keys(x)[0].chunk(2, dim=-1)
            theta, w_z = self.theta.weight.flatten(1), self.w_z.weight.flatten(1)
            key_bias = phi @ bias_of(self.theta)[:, None]
            logits = torch.baddbmm(
                key_bias.mT, tokens, (phi @ theta).mT, beta=self.scale, alpha=self.scale
            )
            values = g @ w_z.T + bias_of(self.w_z)  # f sums to 1 over j: the bias may come along
            tokens.baddbmm_(torch.softmax(logits, dim=-1), values)
            return x
        theta, phi, g, _ = self._embed(x)
        y = self._operate(theta, phi, g, frames=shape[0])
        y = y.view(-1, *shape[1:], self.inner_channels).permute(0, 3, 1, 2)
        self.back(y, len(x), onto=as_images(x))
        return x

    def weights(self, x: Tensor, positions: Tensor) -> Tensor:
        """Refused: whoever asks for an x that went through the block holds its output.

        Raises:
            ValueError: Always.
        """
        raise ValueError(OVERWRITTEN)

    def _moves_projections(self, batch: int, shape: list[int]) -> bool:
        """Whether keys are so few that W_theta and W_z are better applied to them."""
        n, m = math.prod(shape), math.prod(self.key_grid(shape))
        whole = self.extent == "spacetime" and self._group(shape[0]) == shape[0]
        if self.kind != "embedded_gaussian" or not whole or batch * n * m >= LARGE:
            return False
        c, d = self.channels, self.inner_channels
        return m * c * (d + n) < n * d * (c + m)

    def _embed(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        if not self.embeds:
            return super()._embed(x)
        phi_g, grid = self._keys(x)
        phi, g = phi_g.chunk(2, dim=-1)
        return as_tokens(self.queries(as_images(x), len(x)), len(x)), phi, g, grid

    def _keys(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """Phi and g side by side, pooled: (B, M, 2D)."""
        images, window = as_images(x), self._windows(list(x.shape[2:]))[1:]
        if self.subsample_input:
            images = F.max_pool2d(images, window) if max(window) > 1 else images
        phi_g = self.keys(images, len(x))
        if not self.subsample_input and max(window) > 1:
            phi_g = F.max_pool2d(phi_g, window)
        return as_tokens(phi_g, len(x)), [x.shape[2], *phi_g.shape[2:]]


def folded_block(block: NonLocalBlock) -> FoldedBlock:
    """A copy of a 3-D block for inference, its batch norm inside W_z."""
    folded: Any = copy.deepcopy(block).requires_grad_(False)
    folded.w_z.weight.data, folded.w_z.bias.data = fold_norm(block.w_z, block.norm)
    folded.norm = None
    folded.__class__ = FoldedBlock
    if block.embeds:
        folded.queries = ClipConv(folded.theta)
        both: Any = nn.Conv3d(block.channels, 2 * block.inner_channels, 1)
        both.weight.data = torch.cat([folded.phi.weight, folded.g.weight])
        both.bias.data = torch.cat([folded.phi.bias, folded.g.bias])
        folded.keys = ClipConv(both)
    folded.back = ClipConv(folded.w_z)
    return folded


def as_images(x: Tensor) -> Tensor:  # (B, C, T, H, W) -> (B T, C, H, W)
    """The frames as images, uncopied where the clip is channels last."""
    return x.transpose(1, 2).flatten(0, 1)


def as_clips(images: Tensor, clips: int) -> Tensor:  # (B T, C, H, W) -> (B, C, T, H, W)
    """The images as clips, uncopied."""
    return images.unflatten(0, (clips, -1)).transpose(1, 2)


def as_tokens(images: Tensor, clips: int) -> Tensor:  # (B T, C, H, W) -> (B, T H W, C)
    """The images as positions, uncopied where they are channels last."""
    return images.permute(0, 2, 3, 1).reshape(clips, -1, images.shape[1])
