"""The model file comes back whole, or says what is wrong with it."""

import errno
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import nonlocalnet as nln
from nonlocalnet.files import replacing, write_atomically
from nonlocalnet.weights.file import read

CLIP = {"frames": 4, "stride": 1, "crop": 32, "short_side": [32, 40]}


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(0)
    model = nln.build("nl1_c2d_tiny", 2, width=4, kind="dot_product")
    nln.save(model, tmp_path / "m.safetensors", labels=["a", "b"], clip=CLIP, source="a test")
    return tmp_path / "m.safetensors", model


def test_round_trip_gives_equal_logits_labels_and_settings(file):
    path, model = file
    again, meta = read(path)
    x = torch.randn(1, 3, 4, 32, 32)
    assert torch.equal(model.eval()(x), again(x))
    assert not again.training
    assert (meta["labels"], meta["clip"], meta["source"]) == (["a", "b"], CLIP, "a test")
    assert meta["blocks"] == ["res3.0.nonlocal_block"]


def test_the_probe_is_what_the_network_answers(file):
    path, _ = file
    model, meta = read(path)
    probe = meta["probe"]
    x = torch.randn(probe["shape"], generator=torch.Generator().manual_seed(probe["seed"]))
    torch.testing.assert_close(model(x)[0], torch.tensor(probe["logits"]), atol=1e-4, rtol=0)


def test_labels_must_match_the_logits(file):
    path, model = file
    with pytest.raises(ValueError, match="3 labels for 2 logits"):
        nln.save(model, path, labels=["a", "b", "c"], clip=CLIP)


def other_classes(model):
    model.fc = torch.nn.Linear(model.fc.in_features, 2, bias=False)
    return model


def more_blocks(model):
    nln.insert_nonlocal(model, at=["res2.0.bn3"], example=torch.zeros(1, 3, 4, 32, 32))
    return model


def no_config(model):
    model.config = {}
    return model


@pytest.mark.parametrize("change", [other_classes, more_blocks, nln.optimize, no_config])
def test_what_could_not_be_read_is_not_written(file, tmp_path, change):
    changed = change(file[1])
    with pytest.raises(ValueError, match="is not the one that build makes of its config"):
        nln.save(changed, tmp_path / "n.safetensors", labels=["a", "b"], clip=CLIP)
    assert not (tmp_path / "n.safetensors").exists()


def not_finite(model):
    torch.nn.init.constant_(model.fc.bias, float("nan"))
    return model


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": [0, 1]}, "labels are names, got 0; give text, as '0'"),
        ({"clip": {}}, "clip must say its frames, 1 or more, got {}"),
        ({"format": 9}, "format is the file's own"),
        ({"change": not_finite}, "fc.bias is not finite"),
    ],
)
def test_what_load_would_refuse_is_not_written(file, tmp_path, changed, message):
    changed = {"labels": ["a", "b"], "clip": CLIP, **changed}
    model = changed.pop("change", lambda model: model)(file[1])
    with pytest.raises(ValueError, match=message):
        nln.save(model, tmp_path / "n.safetensors", **changed)
    assert not (tmp_path / "n.safetensors").exists()


def test_a_network_of_others_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="is not the one that build makes of its config"):
        nln.save(torch.nn.Linear(2, 2), tmp_path / "n.safetensors", labels=["a", "b"], clip=CLIP)


def test_what_is_not_ours_is_one_sentence(file, tmp_path):
    path, _ = file
    with pytest.raises(ValueError, match="no such model file"):
        read(tmp_path / "nothing")
    (tmp_path / "text").write_text("not tensors at all")
    with pytest.raises(ValueError, match="not a safetensors file"):
        read(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="somebody else"):
        read(tmp_path / "other.safetensors")
    with safe_open(path, "pt") as good:
        tensors = {k: good.get_tensor(k) for k in good.keys()}  # noqa: SIM118
        meta = good.metadata()
    del tensors["res3.0.nonlocal_block.theta.weight"]
    save_file(tensors, tmp_path / "less.safetensors", meta)
    with pytest.raises(ValueError, match=r"missing: res3\.0\.nonlocal_block\.theta\.weight"):
        read(tmp_path / "less.safetensors")
    newer = {"nonlocalnet": json.dumps({**json.loads(meta["nonlocalnet"]), "format": 99})}
    save_file(tensors, tmp_path / "newer.safetensors", newer)
    with pytest.raises(ValueError, match="format 99, this version reads 1"):
        read(tmp_path / "newer.safetensors")


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path):
    target = tmp_path / "f"
    write_atomically(target, b"old")
    with pytest.raises(TypeError):
        write_atomically(target, "not bytes")  # type: ignore[arg-type]
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(OSError) as full, replacing(target):
        raise OSError(errno.ENOSPC, "No space left on device")  # names no file
    assert full.value.filename == str(target)
