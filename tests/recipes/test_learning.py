"""The recipes learn: a batch by heart with every kind of block, ten clips a class, two labels."""

import json

import pytest
import torch

import nonlocalnet as nln
from nonlocalnet.cli.main import main
from nonlocalnet.data.clips import ClipConfig, to_input
from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.generated import write_two_classes, write_two_labels
from nonlocalnet.data.sets import TrainClips
from nonlocalnet.ops.pairwise import KINDS

CLIP = ClipConfig(frames=4, stride=4, crop=32, short_side=(32, 36), test_short_side=32, flip=False)


HALF = [pytest.param(k, True, marks=[] if k == "dot_product" else pytest.mark.long) for k in KINDS]


@pytest.mark.parametrize(("kind", "autocast"), [*((kind, False) for kind in KINDS), *HALF])
def test_one_real_batch_is_learnt_by_heart(bars, kind, autocast):
    """Loss to zero, in float32 and in bf16 autocast, every parameter of the block taking part."""
    clips = TrainClips(read_folder(bars).splits["train"], CLIP, 0)
    items = [clips[0, index] for index in range(6)]
    batch = to_input(torch.stack([item.clip for item in items]), CLIP)
    labels = torch.randperm(6, generator=torch.Generator().manual_seed(0))  # nothing but the clip
    torch.manual_seed(0)
    model = nln.build("nl1_i3d_tiny", 6, width=8, dropout=0.0, kind=kind, scale=1.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(40):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = torch.nn.functional.cross_entropy(model(batch).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01
    for name, value in model.named_parameters():
        if not name.endswith((".phi.bias", ".w_z.bias")):  # softmax and BN cancel these two
            assert not torch.equal(value, before[name]), name


@pytest.mark.long
@pytest.mark.parametrize(
    ("write", "metric"), [(write_two_classes, "top1@10x1x64"), (write_two_labels, "mAP@10x1x64")]
)
def test_ten_clips_of_each_class_are_enough(tmp_path, capsys, write, metric):
    """With all defaults; of one label per video or of two."""
    write(tmp_path / "data")
    data, run, quick = str(tmp_path / "data"), str(tmp_path / "run"), ["--workers", "0", "--json"]
    assert main(["train", data, "--out", run, *quick]) == 0
    assert main(["test", run, "--data", data, *quick]) == 0
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert metrics[metric] >= 0.95
