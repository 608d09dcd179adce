"""A network run by onnxruntime instead of torch: from an ONNX file, or from a network of ours."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nonlocalnet.data.optional import require
from nonlocalnet.engine.classifier import Classifier, clip_of
from nonlocalnet.models.resnet import VideoResNet
from nonlocalnet.weights.file import KEY
from nonlocalnet.weights.onnx_file import to_onnx


class OnnxNetwork(nn.Module):
    """Takes what the network takes, `dense` included, and answers from its ONNX graph, on a CPU.

    Args:
        content: Of an ONNX file.

    Raises:
        ValueError: onnxruntime is not installed, or cannot read it.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        onnxruntime = require("onnxruntime", "an ONNX file", "export")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # whatever a damaged file leads to
            said = " ".join(str(error).split())[:120]
            raise ValueError(f"not an ONNX network ({said})") from None
        self.eval()

    @property
    def metadata(self) -> dict[str, Any]:
        """What `export` put beside the graph; empty in somebody else's file."""
        return json.loads(self.session.get_modelmeta().custom_metadata_map.get(KEY, "{}"))

    def forward(self, x: Tensor, dense: bool = False) -> Tensor:  # (B, 3, T, H, W)
        """Logits (B, classes); with `dense` (B, classes, 1, H', W')."""
        name = "dense_logits" if dense else "logits"
        (found,) = self.session.run([name], {"clip": x.contiguous().numpy()})
        return torch.from_numpy(found)


def load_onnx(path: str | Path) -> Classifier:
    """A classifier from a file that `nonlocalnet export --onnx` wrote.

    Raises:
        ValueError: No such file, not an ONNX network, or not written by `export`.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; nonlocalnet export MODEL --onnx FILE writes one")
    try:
        network = OnnxNetwork(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return _classifier(network, network.metadata, path)


def in_onnx(classifier: Classifier) -> Classifier:
    """The same classifier, its network run by onnxruntime."""
    content = to_onnx(classifier.model, classifier.metadata)
    return _classifier(OnnxNetwork(content), classifier.metadata, "the model")


def _classifier(network: Any, metadata: dict[str, Any], source: object) -> Classifier:
    try:
        return Classifier(network, metadata["labels"], clip_of(metadata), metadata)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(
            f"{source}: an ONNX network without our labels and preprocessing in its metadata; "
            "write it with nonlocalnet export"
        ) from None


def export_onnx(classifier: Classifier, shape: tuple[int, ...]) -> tuple[bytes, float]:
    """The content of the ONNX file, and how far its logits are from the network's on a clip.

    The difference is relative to the largest logit where that is above 1.

    Args:
        classifier: What is exported.
        shape: (B, 3, T, H, W) of the random clip that is compared.
    """
    model: VideoResNet = classifier.model
    content = to_onnx(model, classifier.metadata)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        want = model(x)
        difference = (OnnxNetwork(content)(x) - want).abs().max() / want.abs().max().clamp(min=1)
    return content, difference.item()
