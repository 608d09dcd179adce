"""The video ResNet of Table 1: C2D, I3D and non-local networks as one module that takes numbers.

Source   Wang, Girshick, Gupta, He, "Non-local Neural Networks", CVPR 2018, Sec. 4 and Table 1.
Letters  B batch, T frames, H x W pixels, C channels. A size or kernel of three is always T, H, W.
Names    conv1, bn1, res2 ... res5, fc; inside a residual block those of torchvision. A block that
         owns a non-local block keeps it as `nonlocal_block`, the name `insert_nonlocal` gives too.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from nonlocalnet.nn.batchnorm import ForgetfulBatchNorm
from nonlocalnet.nn.block import NonLocalBlock

EXPANSION = 4
Size3 = tuple[int, int, int]


class Bottleneck(nn.Module):
    """One residual block of Table 1: 1x1, 3x3, 1x1, and after its ReLU perhaps a non-local block.

    Args:
        in_channels: Channels of the input.
        inner_channels: Channels of the 3x3; the output has four times as many.
        stride: Spatial stride.
        kernel_t: Temporal kernels of the first 1x1 and of the 3x3; (3, 1) is I3D 3x1x1, (1, 3)
            is I3D 3x3x3 (Sec. 4).
        stride_in_1x1: Put the stride on the first 1x1 instead of on the 3x3.
        checkpointing: Keep only the input for the backward pass, and run the block again there. A
            compiled network ignores it: its compiler chooses what to keep.
    """

    def __init__(
        self,
        in_channels: int,
        inner_channels: int,
        *,
        stride: int,
        kernel_t: tuple[int, int],
        stride_in_1x1: bool,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        out_channels = EXPANSION * inner_channels
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = _conv(in_channels, inner_channels, (kernel_t[0], 1, 1), first)
        self.bn1 = nn.BatchNorm3d(inner_channels)
        self.conv2 = _conv(inner_channels, inner_channels, (kernel_t[1], 3, 3), second)
        self.bn2 = nn.BatchNorm3d(inner_channels)
        self.conv3 = _conv(inner_channels, out_channels, (1, 1, 1), 1)
        self.bn3 = nn.BatchNorm3d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                _conv(in_channels, out_channels, (1, 1, 1), stride), nn.BatchNorm3d(out_channels)
            )
        self.nonlocal_block: NonLocalBlock | None = None
        self.checkpointing = checkpointing

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T, H, W)
        """The block's output, its stride smaller in H and W."""
        keep = not self.checkpointing or torch.compiler.is_compiling()
        if keep or not torch.is_grad_enabled():
            return self._run(x)
        # Later runs must not count the batch in the running statistics again.
        contexts = (nullcontext(), ForgetfulBatchNorm(self))
        output = checkpoint(self._run, x, use_reentrant=False, context_fn=lambda: contexts)
        assert isinstance(output, Tensor)
        return output

    def _run(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(y + shortcut, inplace=True)
        return y if self.nonlocal_block is None else self.nonlocal_block(y)


class MaxPool(nn.MaxPool3d):
    """A max-pool whose window is cut to a clip of fewer frames, so that one frame is a clip too."""

    kernel_size: Size3
    stride: Size3
    padding: Size3

    def forward(self, input: Tensor) -> Tensor:  # (B, C, T, H, W)
        """The pooled map."""
        frames, *window = self.kernel_size
        frames = min(frames, input.shape[2] + 2 * self.padding[0])
        return F.max_pool3d(
            input, (frames, *window), self.stride, self.padding, ceil_mode=self.ceil_mode
        )


class VideoResNet(nn.Module):
    """C2D, I3D or a non-local network (Sec. 4, Table 1), fully convolutional in T, H and W.

    Args:
        num_classes: Outputs of the classifier.
        depths: Residual blocks per stage, res2 first; as many stages as numbers.
        width: Channels of conv1; the 3x3 of stage s has width * 2**s.
        stem_width: Channels of conv1, where they are others.
        stem_kernel_t: Frames under conv1: 1 (C2D) or 5 (I3D).
        stem_stride_t: Temporal stride of conv1.
        pool1: Max-pool after conv1, or None.
        pool2: Max-pool after res2, or None.
        pool1_ceil: Whether pool1 keeps a last, partial window (ceil mode, as in Caffe).
        kernel_t: (stage, block) -> temporal kernels of its first 1x1 and its 3x3.
        stride_in_1x1: Where a stage's stride sits; see `Bottleneck`.
        nonlocal_at: Stage name -> indices of the residual blocks followed by a non-local block.
        make_nonlocal: (stage name, channels) -> NonLocalBlock.
        dropout: Rate before the classifier (Sec. 4.1: 0.5).
        head_window: Cells of the last map that one training crop covers, in H and W (224 px: 7).
        checkpointing: Trade time for memory in training: see `Bottleneck`.

    Raises:
        ValueError: `nonlocal_at` names a residual block that does not exist.

    Example:
        >>> import torch
        >>> net = VideoResNet(num_classes=5, depths=(1, 1), width=8)
        >>> net(torch.zeros(2, 3, 4, 32, 32)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        *,
        num_classes: int,
        depths: Sequence[int],
        width: int = 64,
        stem_width: int | None = None,
        stem_kernel_t: int = 1,
        stem_stride_t: int = 1,
        pool1: tuple[Size3, Size3, Size3] | None = None,
        pool2: tuple[Size3, Size3, Size3] | None = None,
        pool1_ceil: bool = False,
        kernel_t: Callable[[int, int], tuple[int, int]] = lambda stage, block: (1, 1),
        stride_in_1x1: bool = False,
        nonlocal_at: Mapping[str, Sequence[int]] | None = None,
        make_nonlocal: Callable[[str, int], NonLocalBlock] = lambda stage, c: NonLocalBlock(c),
        dropout: float = 0.5,
        head_window: int = 7,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        nonlocal_at = dict(nonlocal_at or {})
        _check_places(nonlocal_at, depths)
        channels = stem_width or width
        self.conv1 = _conv(3, channels, (stem_kernel_t, 7, 7), (stem_stride_t, 2, 2))
        self.bn1 = nn.BatchNorm3d(channels)
        self.pool1 = MaxPool(*pool1, ceil_mode=pool1_ceil) if pool1 else nn.Identity()
        self.pool2 = MaxPool(*pool2) if pool2 else nn.Identity()
        self.stages = [f"res{stage + 2}" for stage in range(len(depths))]
        for stage, (name, depth) in enumerate(zip(self.stages, depths, strict=True)):
            inner = width * 2**stage
            blocks = []
            for block in range(depth):
                blocks.append(
                    Bottleneck(
                        channels,
                        inner,
                        stride=2 if stage > 0 and block == 0 else 1,
                        kernel_t=kernel_t(stage, block),
                        stride_in_1x1=stride_in_1x1,
                        checkpointing=checkpointing,
                    )
                )
                channels = EXPANSION * inner
            setattr(self, name, nn.Sequential(*blocks))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        self.head_window = head_window
        self.config: dict[str, Any] = {}  # the arguments of `build` that made it
        _init_weights(self)
        # After the trunk, so that a network and the same one with blocks start from equal weights.
        for name, indices in nonlocal_at.items():
            for index in sorted(indices):
                host = self.get_submodule(f"{name}.{index}")
                assert isinstance(host, Bottleneck)
                host.nonlocal_block = make_nonlocal(name, host.conv3.out_channels)

    def features(self, x: Tensor) -> Tensor:  # (B, 3, T, H, W) -> (B, C, T', H', W')
        """The last stage's map.

        Raises:
            ValueError: x is no clip, or its frames are too small for the strides.
        """
        self._check_clip(x)
        x = self.pool1(F.relu(self.bn1(self.conv1(x)), inplace=True))
        for name in self.stages:
            x = self.get_submodule(name)(x)
            if name == "res2":
                x = self.pool2(x)
        return x

    def forward(self, x: Tensor, dense: bool = False) -> Tensor:  # (B, 3, T, H, W)
        """Logits (B, num_classes) from the global average (Table 1).

        With `dense`, logits (B, num_classes, 1, H', W'): one for every place where a training crop
        fits the frame, for the fully convolutional test of Sec. 4.1.
        """
        x = self.features(x)
        if not dense:
            return self.fc(self.dropout(x.mean((2, 3, 4))))
        frames, height, width = x.shape[2:]
        window = (frames, min(self.head_window, height), min(self.head_window, width))
        x = F.avg_pool3d(x, window, stride=1)
        return self.fc(self.dropout(x).movedim(1, -1)).movedim(-1, 1)

    def _check_clip(self, x: Tensor) -> None:
        if x.ndim != 5 or x.shape[1] != self.conv1.in_channels or not x.is_floating_point():
            raise ValueError(
                f"a clip is (B, {self.conv1.in_channels}, T, H, W) in floating point, got "
                f"{tuple(x.shape)} in {x.dtype}"
            )
        cells = 1  # of conv1's map, in H and W, that pool1 needs
        if isinstance(self.pool1, MaxPool):
            partial = self.pool1.stride[1] - 1 if self.pool1.ceil_mode else 0
            cells = self.pool1.kernel_size[1] - 2 * self.pool1.padding[1] - partial
        pixels = 2 * cells - 1
        frames, height, width = x.shape[2:]
        if frames < 1 or min(height, width) < pixels:
            raise ValueError(
                f"a clip of {frames} frames of {height}x{width} px does not survive the strides; "
                f"this network needs 1 frame of {pixels}x{pixels} px at least"
            )


class ShortClipConv3d(nn.Conv3d):
    """A 3-D convolution that may see clips shorter than its kernel, also in bfloat16 on a CPU.

    There oneDNN's gradient of the weights is made of memory that nobody wrote (torch 2.14 with
    AVX-512, clips of 2 or more frames). With the padding put into the clip it is right.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The same as `torch.nn.Conv3d`."""
        if not _in_bfloat16_on_cpu(x) or x.shape[2] >= self.kernel_size[0]:
            return super().forward(x)
        reach, rows, columns = map(int, self.padding)
        x = F.pad(x, (0, 0, 0, 0, reach, reach))
        return F.conv3d(x, self.weight, self.bias, self.stride, (0, rows, columns))


def _in_bfloat16_on_cpu(x: Tensor) -> bool:
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu")
    return x.device.type == "cpu" and torch.bfloat16 in (x.dtype, autocast)


def _conv(in_channels: int, out_channels: int, kernel: Size3, stride: int | Size3) -> nn.Conv3d:
    stride = (1, stride, stride) if isinstance(stride, int) else stride
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return ShortClipConv3d(in_channels, out_channels, kernel, stride, padding, bias=False)


def _check_places(nonlocal_at: Mapping[str, Sequence[int]], depths: Sequence[int]) -> None:
    for name, indices in nonlocal_at.items():
        depth = dict(zip((f"res{i + 2}" for i in range(len(depths))), depths, strict=True)).get(
            name
        )
        if depth is None or not all(0 <= index < depth for index in indices):
            stages = ", ".join(f"res{i + 2}: 0..{d - 1}" for i, d in enumerate(depths))
            raise ValueError(
                f"nonlocal_ asks for blocks after {name} {tuple(indices)}, but this network has "
                f"only {stages}; choose among those"
            )


def _init_weights(model: nn.Module) -> None:
    """MSRA for convolutions, 0.01 for the classifier, zero for each branch's last BN scale."""
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
        elif isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
