"""Checkpoints in their sources' own containers give the logits that the sources' code gave."""

import foreign
import numpy as np
import pytest
import torch

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
