"""`nonlocalnet export`: a model file as ONNX, checked against the network it was made from."""

import json
from pathlib import Path

HELP = """Write a model as an ONNX file: standard operators, any batch, clip length and frame size.

Labels and preprocessing travel in the file's metadata; `predict --runtime onnx` reads it. Before
the file is written onnxruntime answers a random clip from it, and must agree to 1e-4.

Example: nonlocalnet export runs/mine --onnx mine.onnx"""

TOLERANCE = 1e-4


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("model", type=str, help="a run folder or a model file")
    parser.add_argument("--onnx", type=str, required=True, help="the file to write")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(options) -> int:
    """Writes the file and says how far its logits are from the network's."""
    from nonlocalnet.engine.classifier import load
    from nonlocalnet.engine.onnx_runtime import export_onnx
    from nonlocalnet.files import write_atomically

    target = Path(options.onnx)
    if target.suffix != ".onnx":
        raise ValueError(f"--onnx must name a file that ends in .onnx, got {options.onnx}")
    classifier = load(options.model)
    shape = (1, 3, min(classifier.clip.frames, 8), 64, 64)
    content, difference = export_onnx(classifier, shape)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"{options.model}: the exported graph's logits differ by {difference:.2g} from the "
            f"network's, {TOLERANCE:g} is allowed; nothing was written"
        )
    write_atomically(target, content)
    if options.json:
        print(json.dumps({"file": str(target), "difference": difference, "bytes": len(content)}))
    else:
        size = len(content) / 2**20
        print(f"{target}: {size:.1f} MiB; logits differ by {difference:.1g} from the network's")
    return 0
