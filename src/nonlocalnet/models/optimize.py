"""`optimize`: the same network in a form that only answers, and does so faster.

Batch norms are inside the weights, maps stay (B, T, H, W, C) in memory from the first convolution
to the last, every convolution is a 2-D one of images with its addition and ReLU inside, the stem
is pooled while it is in the cache. docs/performance.md has the measurements, and what did not help.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocalnet.models.resnet import MaxPool, VideoResNet
from nonlocalnet.nn.inference import (
    ClipConv,
    ImageConv,
    as_clips,
    as_images,
    fold_norm,
    folded_block,
)

STEM_IMAGES = 4
"""Images of the stem at a time: 64 channels of 112 x 112 cells in float32 are 3 MiB each."""


class InferenceResNet(VideoResNet):
    """What `optimize` returns: called as the network it was made from, always in eval mode."""

    def __init__(self, model: VideoResNet) -> None:
        nn.Module.__init__(self)
        self.conv1 = copy.deepcopy(model.conv1).requires_grad_(False)  # says which clips fit
        self.pool1, self.pool2 = model.pool1, model.pool2
        self.stem = Stem(model.conv1, model.bn1, model.pool1)
        self.stages = model.stages
        for name in model.stages:
            stage = model.get_submodule(name).children()
            setattr(self, name, nn.ModuleList(_InferenceBottleneck(block) for block in stage))
        self.dropout = nn.Identity()
        self.fc = copy.deepcopy(model.fc).requires_grad_(False)
        self.head_window = model.head_window
        self.config = model.config
        self.eval()

    def train(self, mode: bool = True) -> "InferenceResNet":
        """Does nothing: this form has no training mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor, dense: bool = False) -> Tensor:  # (B, 3, T, H, W)
        """As `VideoResNet.forward`, without gradients."""
        return super().forward(x, dense)

    def features(self, x: Tensor) -> Tensor:  # (B, 3, T, H, W) -> (B, C, T', H', W')
        """The last stage's map, channels last."""
        self._check_clip(x)
        clips = len(x)
        images = self.stem(x)
        for name in self.stages:
            for block in self.get_submodule(name).children():
                images = block(images, clips)
            if name == "res2" and isinstance(self.pool2, MaxPool):
                images = pool_frames(images.unbind(), clips, self.pool2)
        return as_clips(images, clips)


class Stem(nn.Module):
    """conv1, its batch norm and ReLU, and pool1, a few images at a time.

    The frames under one kernel lie side by side as channels of an image, so that a kernel of 5
    frames is one 2-D convolution too.
    """

    def __init__(self, conv: nn.Conv3d, norm: nn.Module, pool: nn.Module) -> None:
        super().__init__()
        weight, bias = fold_norm(conv, norm)
        self.frames, self.stride, self.padding = (
            conv.kernel_size[0],
            conv.stride[0],
            int(conv.padding[0]),
        )
        weight = weight.transpose(1, 2).flatten(1, 2)  # (O, frames * 3, kh, kw)
        self.conv = ImageConv(weight, bias, conv.stride[1], int(conv.padding[1]))
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, T, H, W) -> (B T', C, H', W')
        """Images, channels last."""
        clips, _, length = x.shape[:3]
        steps = (length + 2 * self.padding - self.frames) // self.stride + 1
        places = [
            (clip, step * self.stride - self.padding)
            for clip in range(clips)
            for step in range(steps)
        ]
        frames: list[Tensor] = []
        for first in range(0, len(places), STEM_IMAGES):
            part = self._side_by_side(x, places[first : first + STEM_IMAGES])
            frames += pool_places(self.conv(part, relu=True), self.pool).unbind()
        return pool_frames(frames, clips, self.pool)

    def _side_by_side(self, x: Tensor, places: Sequence[tuple[int, int]]) -> Tensor:
        """For each clip and first frame an image of all frames under the kernel."""
        colours, length, *size = x.shape[1:]
        pixels = x.permute(0, 2, 3, 4, 1)
        images = x.new_empty(len(places), *size, self.frames * colours)
        for image, (clip, first) in zip(images, places, strict=True):
            for k, under in enumerate(image.split(colours, dim=2)):
                inside = 0 <= first + k < length
                under.copy_(pixels[clip, first + k]) if inside else under.zero_()
        return images.permute(0, 3, 1, 2)


class _InferenceBottleneck(nn.Module):
    """A `Bottleneck` on images; it may overwrite its input."""

    def __init__(self, block: Any) -> None:  # a Bottleneck
        super().__init__()
        self.conv1 = ClipConv(block.conv1, block.bn1)
        self.conv2 = ClipConv(block.conv2, block.bn2)
        self.conv3 = ClipConv(block.conv3, block.bn3)
        down = block.downsample
        self.downsample = None if down is None else ClipConv(*down)
        own = block.nonlocal_block
        self.nonlocal_block = None if own is None else folded_block(own)

    def forward(self, x: Tensor, clips: int) -> Tensor:  # (B T, C, H, W), channels last
        y = self.conv1(x, clips, relu=True)
        y = self.conv2(y, clips, relu=True)
        shortcut = x if self.downsample is None else self.downsample(x, clips)
        y = self.conv3(y, clips, relu=True, onto=shortcut)
        if self.nonlocal_block is not None:
            y = as_images(self.nonlocal_block(as_clips(y, clips)))
        return y


def pool_places(images: Tensor, pool: nn.Module) -> Tensor:
    """The part of a max-pool that joins places of a frame."""
    if not isinstance(pool, MaxPool) or pool.kernel_size[1:] == (1, 1):
        return images
    spatial = (pool.kernel_size[1:], pool.stride[1:], pool.padding[1:])
    return F.max_pool2d(images, *spatial, ceil_mode=pool.ceil_mode)


def pool_frames(frames: Sequence[Tensor], clips: int, pool: nn.Module) -> Tensor:
    """The part of a max-pool that joins frames, each (C, H, W) and channels last."""
    kernel, stride, padding, ceil_mode = 1, 1, 0, False
    if isinstance(pool, MaxPool):
        kernel, stride, padding = pool.kernel_size[0], pool.stride[0], pool.padding[0]
        ceil_mode = pool.ceil_mode
    length = len(frames) // clips
    kernel = min(kernel, length + 2 * padding)
    like = torch.empty(1, 1, length)
    count = F.max_pool1d(like, kernel, stride, padding, ceil_mode=ceil_mode).shape[2]
    shape = (clips * count, *frames[0].shape)
    pooled = torch.empty(
        shape,
        dtype=frames[0].dtype,
        device=frames[0].device,
        memory_format=torch.channels_last,
    )
    for index, image in enumerate(pooled):
        clip, step = divmod(index, count)
        first = step * stride - padding
        under = range(clip * length + max(first, 0), clip * length + min(first + kernel, length))
        most = frames[under[0]]
        for frame in under[1:]:
            most = torch.maximum(most, frames[frame], out=image)
        if len(under) == 1:
            image.copy_(most)
    return pooled


def optimize(model: VideoResNet) -> InferenceResNet:
    """The network in a form that is made for inference: the same logits to 1e-4, in less time.

    On a CPU most of it comes from oneDNN's kernels, whose layouts of the weights are kept beside
    the weights. The first clip of a new size takes about 0.1 s more, to lay them out for it.

    Args:
        model: From `build` or a file; stays as it is. Its batch norms are taken in eval mode.

    Returns:
        A module that takes what the network takes, `dense` included. It has no training mode and
        no gradients, and `save` wants the network itself.

    Raises:
        ValueError: The model is no network of ours, or something was hooked into it.

    Example:
        >>> import nonlocalnet as nln
        >>> net, x = nln.build("nl1_i3d_tiny", 3).eval(), torch.randn(1, 3, 4, 32, 32)
        >>> torch.allclose(optimize(net)(x), net(x), atol=1e-4)
        True
    """
    if isinstance(model, InferenceResNet):
        return model
    if not isinstance(model, VideoResNet):
        raise ValueError(
            f"optimize takes a network of nonlocalnet.build or load, got a {type(model).__name__}"
        )
    for name, part in model.named_modules():
        if part._forward_hooks or part._forward_pre_hooks:
            raise ValueError(
                f"{name or 'the network'!r} has a forward hook, which an optimized network would "
                "not run; remove it (remove_nonlocal takes out inserted blocks)"
            )
    return InferenceResNet(model)
