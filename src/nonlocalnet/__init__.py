"""Non-local Neural Networks (Wang, Girshick, Gupta, He, 2017) in PyTorch.

Names are imported when they are first used: importing this package costs nothing, and the video,
training and drawing libraries are only needed by the functions that use them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nonlocalnet.engine.classifier import load as load
    from nonlocalnet.engine.explain import explain as explain
    from nonlocalnet.models.optimize import optimize as optimize
    from nonlocalnet.models.zoo import build as build
    from nonlocalnet.models.zoo import list_models as list_models
    from nonlocalnet.nn.batchnorm import freeze_bn as freeze_bn
    from nonlocalnet.nn.batchnorm import precise_bn as precise_bn
    from nonlocalnet.nn.block import NonLocalBlock as NonLocalBlock
    from nonlocalnet.nn.insert import insert_nonlocal as insert_nonlocal
    from nonlocalnet.nn.insert import nonlocal_blocks as nonlocal_blocks
    from nonlocalnet.nn.insert import remove_nonlocal as remove_nonlocal
    from nonlocalnet.nn.stats import block_stats as block_stats
    from nonlocalnet.ops.operation import nonlocal_op as nonlocal_op
    from nonlocalnet.ops.pairwise import nonlocal_weights as nonlocal_weights
    from nonlocalnet.weights.file import save as save
    from nonlocalnet.weights.load import from_checkpoint as from_checkpoint
    from nonlocalnet.weights.load import load_pretrained as load_pretrained

__version__ = "0.1.0"

_HOME = {
    "NonLocalBlock": "nn.block",
    "block_stats": "nn.stats",
    "build": "models.zoo",
    "explain": "engine.explain",
    "freeze_bn": "nn.batchnorm",
    "from_checkpoint": "weights.load",
    "insert_nonlocal": "nn.insert",
    "list_models": "models.zoo",
    "load": "engine.classifier",
    "load_pretrained": "weights.load",
    "nonlocal_blocks": "nn.insert",
    "nonlocal_op": "ops.operation",
    "nonlocal_weights": "ops.pairwise",
    "optimize": "models.optimize",
    "precise_bn": "nn.batchnorm",
    "remove_nonlocal": "nn.insert",
    "save": "weights.file",
}
__all__ = [
    "NonLocalBlock",
    "block_stats",
    "build",
    "explain",
    "freeze_bn",
    "from_checkpoint",
    "insert_nonlocal",
    "list_models",
    "load",
    "load_pretrained",
    "nonlocal_blocks",
    "nonlocal_op",
    "nonlocal_weights",
    "optimize",
    "precise_bn",
    "remove_nonlocal",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nonlocalnet' has no attribute {name!r}")
    return getattr(importlib.import_module(f"nonlocalnet.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
