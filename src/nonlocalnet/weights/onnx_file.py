"""A network as an ONNX file: standard operators, any batch, T, H and W, with labels and clip.

The graph is written here, layer by layer, in the inference form: batch norms are inside the
weights, frames are images (B T, C, H, W), and a kernel over frames sees them side by side as
channels. So every convolution is a 2-D one, and no size of the input is fixed. The N x M weights
of a non-local block are stored, concatenation's too: ONNX has no operator that avoids it.

Outputs: `logits` (B, classes), and `dense_logits` (B, classes, 1, H', W'), one for every place
where a training crop fits the frame (Sec. 4.1). The model file's metadata travels along, as one
JSON text under the key `nonlocalnet`.
"""

import json
from typing import Any

import numpy as np
from torch import Tensor, nn

from nonlocalnet.models.resnet import Bottleneck, MaxPool, VideoResNet
from nonlocalnet.nn.block import NonLocalBlock
from nonlocalnet.nn.inference import fold_norm
from nonlocalnet.weights.file import KEY

OPSET = 17
LOWEST = -3.0e38  # below every activation: the padding of a max-pool


def to_onnx(model: VideoResNet, metadata: dict[str, Any]) -> bytes:
    """The network in eval mode as the content of an ONNX file.

    Args:
        model: From `build` or a file.
        metadata: That of the model file: labels, clip, ...

    Raises:
        ValueError: onnx is not installed, or a block looks across groups of frames.
    """
    try:
        import onnx
    except ImportError:
        raise ValueError(
            "export needs onnx, which is not installed; run: pip install 'nonlocalnet[export]'"
        ) from None
    graph = _Graph()
    _network(graph, model)
    helper = onnx.helper
    clip = helper.make_tensor_value_info("clip", 1, ["batch", 3, "T", "H", "W"])
    classes = model.fc.out_features
    logits = helper.make_tensor_value_info("logits", 1, ["batch", classes])
    places = ["batch", classes, 1, "places_y", "places_x"]
    dense = helper.make_tensor_value_info("dense_logits", 1, places)
    nodes = [helper.make_node(op, i, o, **options) for op, i, o, options in graph.nodes]
    stored = [onnx.numpy_helper.from_array(array, name) for name, array in graph.stored.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "nonlocalnet", [clip], [logits, dense], stored),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=9,
        producer_name="nonlocalnet",
    )
    helper.set_model_props(made, {KEY: json.dumps(metadata)})
    return made.SerializeToString()


class _Graph:
    """Nodes in order, and constant arrays; a value is its name."""

    def __init__(self) -> None:
        self.nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        self.stored: dict[str, np.ndarray] = {}

    def __call__(self, op: str, *inputs: str, name: str = "", **options: Any) -> str:
        name = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append((op, list(inputs), [name], options))
        return name

    def store(self, array: Any, kind: type = np.float32) -> str:
        name = f"constant_{len(self.stored)}"
        if isinstance(array, Tensor):
            array = array.detach().cpu().numpy()
        self.stored[name] = np.asarray(array, dtype=kind, order="C")
        return name

    def ints(self, *values: int) -> str:
        return self.store(values, np.int64)

    def size(self, x: str, *axes: int) -> str:
        """Those sizes of a value, as one list."""
        return self("Gather", self("Shape", x), self.ints(*axes))

    def shaped(self, x: str, *sizes: str) -> str:
        """Reshaped; sizes are lists that are put together."""
        return self("Reshape", x, self("Concat", *sizes, axis=0))

    def conv(self, x: str, weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 0) -> str:
        constants = self.store(weight), self.store(bias)
        return self("Conv", x, *constants, strides=[stride] * 2, pads=[padding] * 4)

    def repeated(self, x: str, axis: int, window: int) -> str:
        """Each cell `window` times along an axis that is shorter, so that pooling gives it back."""
        cells = self("Squeeze", self.size(x, axis))
        zero, one, most = (self.store(number, np.int64) for number in (0, 1, window))
        times = self("Where", self("Less", cells, most), most, one)
        places = self("Range", zero, self("Mul", cells, times), one)
        return self("Gather", x, self("Div", places, times), axis=axis)


def _network(graph: _Graph, model: VideoResNet) -> None:
    clips = graph.size("clip", 0)
    images = graph("Transpose", "clip", perm=[0, 2, 1, 3, 4])
    x = graph.shaped(images, graph.ints(-1), graph.size("clip", 1, 3, 4))
    x = graph("Relu", _conv(graph, x, clips, model.conv1, model.bn1))
    x = _pool(graph, x, clips, model.pool1)
    for name in model.stages:
        for block in model.get_submodule(name).children():
            assert isinstance(block, Bottleneck)
            x = _bottleneck(graph, x, clips, block)
        if name == "res2":
            x = _pool(graph, x, clips, model.pool2)
    _head(graph, x, clips, model)


def _bottleneck(graph: _Graph, x: str, clips: str, block: Bottleneck) -> str:
    y = graph("Relu", _conv(graph, x, clips, block.conv1, block.bn1))
    y = graph("Relu", _conv(graph, y, clips, block.conv2, block.bn2))
    y = _conv(graph, y, clips, block.conv3, block.bn3)
    down: Any = block.downsample
    y = graph("Relu", graph("Add", y, x if down is None else _conv(graph, x, clips, *down)))
    own = block.nonlocal_block
    return y if own is None else graph("Add", y, _nonlocal(graph, y, clips, own))


def _frames(
    graph: _Graph, x: str, clips: str, kernel: int, stride: int, low: int, high: str, value: float
) -> list[str]:
    """What each place of a kernel over frames sees: images (B, T', C, H, W), padded by `value`."""
    x = graph.shaped(x, clips, graph.ints(-1), graph.size(x, 1, 2, 3))
    pads = graph("Concat", graph.ints(0, low, 0, 0, 0, 0), high, graph.ints(0, 0, 0), axis=0)
    x = graph("Pad", x, pads, graph.store(value))
    ends = [
        graph("Sub", graph.size(x, 1), graph.ints(kernel - 1 - place)) for place in range(kernel)
    ]
    axis, step = graph.ints(1), graph.ints(stride)
    return [graph("Slice", x, graph.ints(k), end, axis, step) for k, end in enumerate(ends)]


def _conv(graph: _Graph, x: str, clips: str, conv: nn.Conv3d, norm: nn.Module | None = None) -> str:
    weight, bias = fold_norm(conv, norm)
    kernel, stride, padding = conv.kernel_size[0], conv.stride[0], int(conv.padding[0])
    if (kernel, stride) != (1, 1):
        seen = _frames(graph, x, clips, kernel, stride, padding, graph.ints(padding), 0.0)
        joined = graph("Concat", *seen, axis=2) if kernel > 1 else seen[0]
        x = graph.shaped(joined, graph.ints(-1), graph.size(joined, 2, 3, 4))
    return graph.conv(
        x, weight.transpose(1, 2).flatten(1, 2), bias, conv.stride[1], int(conv.padding[1])
    )


def _pool(graph: _Graph, x: str, clips: str, pool: nn.Module) -> str:
    if not isinstance(pool, MaxPool):
        return x
    (frames, *window), (step, *strides) = pool.kernel_size, pool.stride
    if window != [1, 1]:
        options: dict[str, Any] = {"kernel_shape": window, "strides": strides}
        options |= {"pads": [*pool.padding[1:]] * 2, "ceil_mode": int(pool.ceil_mode)}
        x = graph("MaxPool", x, **options)
    if (frames, step) == (1, 1):
        return x
    padding = pool.padding[0]
    # A clip shorter than the window is a window of its own; ceil mode keeps a partial last one.
    length = graph("Div", graph.size(x, 0), clips)
    missing = graph("Sub", graph.ints(frames - 2 * padding), length)
    high = graph("Max", missing, graph.ints(step - 1 if pool.ceil_mode else 0))
    high = graph("Add", high, graph.ints(padding))
    most = graph("Max", *_frames(graph, x, clips, frames, step, padding, high, LOWEST))
    return graph.shaped(most, graph.ints(-1), graph.size(most, 2, 3, 4))


def _head(graph: _Graph, x: str, clips: str, model: VideoResNet) -> None:
    weight, bias = model.fc.weight, graph.store(model.fc.bias)
    channels = graph.ints(model.fc.in_features)
    sizes = graph.size(x, 2, 3)
    x = graph("Reshape", x, graph("Concat", clips, graph.ints(-1), channels, sizes, axis=0))
    x = graph("ReduceMean", x, axes=[1], keepdims=0)  # (B, C, H, W)
    mean = graph("ReduceMean", x, axes=[2, 3], keepdims=0)
    graph("Gemm", mean, graph.store(weight), bias, transB=1, name="logits")
    # Zeros fill up a map smaller than the window, and their share is taken out again.
    window = model.head_window
    missing = graph("Max", graph("Sub", graph.ints(window, window), sizes), graph.ints(0, 0))
    padded = graph("Pad", x, graph("Concat", graph.ints(0, 0, 0, 0, 0, 0), missing, axis=0))
    means = graph("AveragePool", padded, kernel_shape=[window, window])
    inside = graph("ReduceProd", graph("Min", sizes, graph.ints(window, window)), keepdims=1)
    share = graph("Div", graph.store([window**2]), graph("Cast", inside, to=1))
    places = graph("Mul", means, share)
    places = graph("Conv", places, graph.store(weight[:, :, None, None]), bias)
    graph("Unsqueeze", places, graph.ints(2), name="dense_logits")


def _nonlocal(graph: _Graph, x: str, clips: str, block: NonLocalBlock) -> str:
    """W_z y of Eq. 6, in images like x."""
    if block.group_frames is not None:
        raise ValueError(
            f"blocks with group_frames={block.group_frames} cannot be exported; "
            "build the network with group_frames=None"
        )
    pools = block.subsample > 1 and block.extent != "time"

    def pooled(images: str) -> str:
        if not pools:
            return images
        for axis in (2, 3):
            images = graph.repeated(images, axis, block.subsample)
        window = [block.subsample] * 2
        return graph("MaxPool", images, kernel_shape=window, strides=window)

    def project(images: str, conv: Any) -> str:
        return graph.conv(images, conv.weight[:, :, 0], conv.bias)

    few = pooled(x) if block.pools_x else x
    theta = project(x, block.theta) if block.embeds else x
    g = project(few if block.subsample_input else x, block.g)
    g = g if block.subsample_input else pooled(g)
    phi = few
    if block.embeds:
        phi = project(few if block.subsample_input else x, block.phi)
        phi = phi if block.subsample_input else pooled(phi)
    extent = block.extent
    queries, keys, values = (_positions(graph, part, clips, extent) for part in (theta, phi, g))
    weights = _pairs(graph, queries, keys, block)
    y = graph("MatMul", weights, values)  # (..., N, D)
    channels = graph.ints(block.inner_channels)
    height_width = graph.size(x, 2, 3)
    if extent == "time":  # (B, H W, T, D)
        y = graph("Transpose", y, perm=[0, 2, 3, 1])  # (B, T, D, H W)
    elif extent == "space":  # (B T, H W, D)
        y = graph("Transpose", y, perm=[0, 2, 1])
    else:  # (B, T H W, D)
        y = graph.shaped(y, clips, graph.ints(-1), graph("ReduceProd", height_width), channels)
        y = graph("Transpose", y, perm=[0, 1, 3, 2])
    y = graph.shaped(y, graph.ints(-1), channels, height_width)
    weight, bias = fold_norm(block.w_z, block.norm)
    return graph.conv(y, weight[:, :, 0], bias)


def _positions(graph: _Graph, images: str, clips: str, extent: str) -> str:
    """Images (B T, D, H, W) as positions (..., N, D), those within one extent on the last two."""
    depth = graph.size(images, 1)
    if extent == "space":
        flat = graph.shaped(images, graph.size(images, 0, 1), graph.ints(-1))
        return graph("Transpose", flat, perm=[0, 2, 1])
    places = graph("ReduceProd", graph.size(images, 2, 3))
    clip = graph.shaped(images, clips, graph.ints(-1), depth, places)  # (B, T, D, H W)
    if extent == "time":
        return graph("Transpose", clip, perm=[0, 3, 1, 2])
    clip = graph("Transpose", clip, perm=[0, 1, 3, 2])
    return graph.shaped(clip, clips, graph.ints(-1), depth)


def _pairs(graph: _Graph, queries: str, keys: str, block: NonLocalBlock) -> str:
    """f(x_i, x_j) / C(x) of Eqs. 2-5, (..., N, M)."""
    axes = [0, 1, 3, 2] if block.extent == "time" else [0, 2, 1]
    across = graph("Transpose", keys, perm=axes)
    if block.kind == "concatenation":
        assert block.w_f is not None
        w_theta, w_phi = block.w_f[:, None].chunk(2)
        a = graph("MatMul", queries, graph.store(w_theta))  # (..., N, 1)
        b = graph("Transpose", graph("MatMul", keys, graph.store(w_phi)), perm=axes)
        return graph("Div", graph("Relu", graph("Add", a, b)), _count(graph, keys))
    scale = graph.store(block.scale)
    if block.kind == "dot_product":
        count = _count(graph, keys)
        return graph("MatMul", graph("Mul", queries, graph("Div", scale, count)), across)
    if block.kind == "gaussian_distance":
        # Moved by the mean key, |phi|^2 does not swamp the digits of the differences.
        mean = graph("ReduceMean", keys, axes=[-2], keepdims=1)
        queries, keys = graph("Sub", queries, mean), graph("Sub", keys, mean)
        across = graph("Transpose", keys, perm=axes)
        squares = graph("ReduceSumSquare", across, axes=[-2], keepdims=1)
        half = graph("Mul", squares, graph.store(0.5))
        logits = graph("Sub", graph("MatMul", queries, across), half)
        return graph("Softmax", graph("Mul", logits, scale), axis=-1)
    return graph("Softmax", graph("MatMul", graph("Mul", queries, scale), across), axis=-1)


def _count(graph: _Graph, keys: str) -> str:
    return graph("Cast", graph.size(keys, -2), to=1)
