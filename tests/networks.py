"""Networks for tests."""

import torch

import nonlocalnet as nln


def speaking(classes, seed=0):
    """A tiny network whose every part speaks: no scale and no weight is zero."""
    torch.manual_seed(seed)
    net = nln.build("nl1_i3d_tiny", classes, width=4, head_window=1).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    torch.nn.init.normal_(net.fc.weight)
    return net
