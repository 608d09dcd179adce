"""Checkpoints in their sources' own containers give the logits that the sources' code gave."""

import foreign
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import nonlocalnet as nln

NETWORKS = {
    "caffe2_i3d_baseline_32x2": ("i3d_r50", "official"),
    "mmaction2_i3d_r50_nl_embedded_gaussian": ("nl5_i3d_r50", "mmaction2"),
    "pytorchvideo_i3d_r50": ("i3d_r50", "pytorchvideo"),
    "slowfast_i3d_nln_8x8_r50": ("nl5_i3d_r50", "slowfast"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_of_the_source(tmp_path, name):
    facts = foreign.facts(name)
    source = name.partition("_")[0]
    weights = foreign.regenerate(facts["keys"], facts["theta_phi_factor"])
    model, report = nln.from_checkpoint(foreign.write(weights, source, tmp_path / name))
    assert (model.config["name"], model.config["preset"]) == NETWORKS[name]
    assert report.source == source
    assert set(report.loaded.values()) == set(weights)
    with torch.no_grad():
        logits = model(foreign.clip(facts["input"]))[0]
    want = torch.tensor(facts["logits"])
    assert (logits - want).abs().max() < 1e-4 * want.abs().max()
    np.testing.assert_allclose(logits, want, rtol=1e-3, atol=1e-4)


def image_logits(weights, image):
    """resnet50_thin as its publisher describes it: Caffe's pool and strides, in 2-D."""

    def conv_bn(x, conv, bn, stride=1, padding=0):
        x = F.conv2d(x, weights[f"{conv}.weight"], None, stride, padding)
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(weights[f"{bn}.{name}"] for name in names))

    x = conv_bn(image, "conv1", "bn1", 2, 3).relu()
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    for stage, depth in enumerate((3, 4, 6, 3), start=1):
        for index in range(depth):
            name = f"layer{stage}.{index}"
            stride = 2 if stage > 1 and index == 0 else 1
            y = conv_bn(x, f"{name}.conv1", f"{name}.bn1", stride).relu()
            y = conv_bn(y, f"{name}.conv2", f"{name}.bn2", 1, 1).relu()
            y = conv_bn(y, f"{name}.conv3", f"{name}.bn3")
            if index == 0:
                x = conv_bn(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = (x + y).relu()
    return F.linear(x.mean((2, 3)), weights["fc.weight"], weights["fc.bias"])


def test_real_image_weights_of_half_the_width():
    """From Caffe: stride on the first 1x1, unpadded pool that keeps a partial window."""
    path = foreign.FOREIGN.parent / "weights" / "resnet50_thin.npz"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    with np.load(path) as file:
        weights = {name: torch.from_numpy(file[name]) for name in file.files}
    stem = {"stem_width": 64, "pool1_ceil": True, "stride_in_1x1": True}
    classes = len(weights["fc.bias"])
    model = nln.build("c2d_r50", classes, "official", width=32, **stem).eval()
    report = nln.load_pretrained(model, weights)
    assert (report.source, len(report.loaded)) == ("torchvision", 267)
    image = 60 * torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        want = image_logits(weights, image)
        got = model(image[:, :, None].expand(-1, -1, 8, -1, -1))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert want.abs().max() > 0.1
