"""Foreign files become files of ours that predict, and ours go back."""

import re

import foreign
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from videos import write_video

import nonlocalnet as nln
from nonlocalnet.nn.insert import nonlocal_blocks
from nonlocalnet.weights.convert import (
    convert,
    convert_back,
    kinetics_labels,
    state_dict_for,
    verify,
)
from nonlocalnet.weights.describe import describe
from nonlocalnet.weights.file import read
from nonlocalnet.weights.fit import TABLES

LABELS = ["a", "b", "c", "d", "e"]
SOURCES = ["caffe2", "slowfast", "mmaction2", "pytorchvideo", "gluoncv"]


def logits(model, frames=8):
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        return model.eval()(torch.randn(1, 3, frames, 64, 64, generator=rng))


@pytest.mark.parametrize("source", SOURCES)
def test_a_foreign_file_becomes_one_of_ours(tmp_path, source):
    file = foreign.write(foreign.small(source), source, tmp_path / "m.bin")
    out = tmp_path / "m.safetensors"
    report = convert(file, out, labels=LABELS)
    model, meta = read(out)
    want, _ = nln.from_checkpoint(file)
    assert torch.equal(logits(model), logits(want))
    assert (meta["labels"], meta["views"]) == (LABELS, "10x3")
    assert meta["source"] == {"file": "m.bin", "format": source, "notes": report.notes}
    assert meta["clip"]["frames"] == (8 if source in ("slowfast", "pytorchvideo") else 32)
    assert meta["clip"]["mean"] == (
        [0.485, 0.456, 0.406] if source in ("mmaction2", "gluoncv") else 0.45
    )
    assert verify(out) == 0
    again, report = nln.from_checkpoint(out)
    assert torch.equal(logits(again), logits(model))
    assert report.source == "nonlocalnet"


def test_a_converted_file_predicts_with_its_own_preprocessing(tmp_path):
    weights = foreign.small("mmaction2")
    convert(
        foreign.write(weights, "mmaction2", tmp_path / "m.pth"),
        tmp_path / "m.safetensors",
        labels=LABELS,
        clip=(8, 1),
    )
    classifier = nln.load(tmp_path / "m.safetensors")
    assert classifier.clip.mean == (0.485, 0.456, 0.406)
    clip = write_video(tmp_path / "clip.mp4", 8)
    assert sum(score for _, score in classifier.predict(clip, "1x1").top()) == pytest.approx(1)


def test_four_hundred_classes_are_those_of_kinetics(tmp_path):
    weights = foreign.small("pytorchvideo", num_classes=400)
    file = foreign.write(weights, "pytorchvideo", tmp_path / "I3D_8x8_R50.pyth")
    convert(file, tmp_path / "m.safetensors")
    assert read(tmp_path / "m.safetensors")[1]["labels"] == kinetics_labels()
    file = foreign.write(foreign.small("slowfast"), "slowfast", tmp_path / "m.pyth")
    with pytest.raises(ValueError, match="has 5 classes, not the 400 of Kinetics-400"):
        convert(file, tmp_path / "n.safetensors")
    assert not (tmp_path / "n.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "clip", "preset"),
    [
        ("i3d_nonlocal_32x2_IN_pretrain_400k.pkl", (32, 2), "official"),
        ("i3d_nonlocal_128x1_I3D_pretrain_400k.pkl", (128, 1), "official"),
        ("i3d_nonlocal_8x8_IN_pretrain_400k.pkl", (8, 8), "official_8x8"),
        ("i3d_nonlocal_32x4_I3D_pretrain_400k.pkl", (32, 4), "official_8x8"),
        ("r50_k400_pretrained.pkl", (8, 8), "official_8x8"),
        ("I3D_NLN_8x8_R50.pkl", (8, 8), "slowfast"),
        ("C2D_NOPOOL_8x8_R50.pkl", (8, 8), "slowfast_nopool"),
        ("mine.pkl", (32, 2), "official"),
    ],
)
def test_published_names_say_layout_and_clip(tmp_path, name, clip, preset):
    file = foreign.write(foreign.small("caffe2"), "caffe2", tmp_path / name)
    convert(file, tmp_path / "m.safetensors", labels=LABELS)
    model, meta = read(tmp_path / "m.safetensors")
    assert (meta["clip"]["frames"], meta["clip"]["stride"]) == clip
    assert model.config["preset"] == preset


def test_what_the_names_do_not_say_comes_from_settings_name_or_caller(tmp_path):
    weights = foreign.small("mmaction2")
    state = {key: torch.from_numpy(value) for key, value in weights.items()}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    torch.save({"state_dict": state}, tmp_path / "i3d-r50-nl-dot-product_2022-8e1f.pth")
    cfg = "model = dict(non_local_cfg=dict(mode='dot_product'))"
    torch.save({"state_dict": state, "meta": {"cfg": cfg}}, tmp_path / "b.pth")

    def kind(name, **options):
        model, report = nln.from_checkpoint(tmp_path / name, **options)
        return next(iter(nonlocal_blocks(model).values())).kind, " ".join(report.notes)

    assert kind("a.pth")[0] == "embedded_gaussian"
    assert "assumed" in kind("a.pth")[1]
    assert kind("b.pth")[0] == "dot_product"
    assert kind("i3d-r50-nl-dot-product_2022-8e1f.pth")[0] == "dot_product"
    assert kind("a.pth", kind="dot_product")[0] == "dot_product"


def test_gaussian_blocks_and_unpooled_ones_show_in_the_names(tmp_path):
    weights = foreign.small("mmaction2", kind="gaussian")
    model, _ = nln.from_checkpoint(foreign.write(weights, "mmaction2", tmp_path / "g.pth"))
    assert {block.kind for block in nonlocal_blocks(model).values()} == {"gaussian"}
    unpooled = {
        key.replace(".g.0.", ".g.").replace(".phi.0.", ".phi."): value
        for key, value in foreign.small("mmaction2").items()
    }
    model, _ = nln.from_checkpoint(foreign.write(unpooled, "mmaction2", tmp_path / "u.pth"))
    assert {block.subsample for block in nonlocal_blocks(model).values()} == {1}


NAMES = [name for name in nln.list_models() if not name.endswith("tiny")]


def described(source, name, **options):
    """What `describe` makes of a source's names and shapes of one of our networks."""
    with torch.device("meta"):
        state = nln.build(name, 7, foreign.SOURCES[source][1], **options).state_dict()
    theirs = {names[0]: v for k, v in state.items() if (names := TABLES[source].theirs(k))}
    return describe(theirs, TABLES[source], "")[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_network_is_known_by_its_names_and_shapes(name):
    """Depth, inflation, places of blocks, classes: R101 and 10 blocks as well."""
    arguments = described("caffe2", name)
    assert (arguments["name"], arguments["num_classes"]) == (name, 7)


def test_other_places_of_blocks_are_known_too():
    places = {"res3": (1, 3), "res4": (1, 3, 5)}  # PySlowFast's R101
    arguments = described("slowfast", "i3d_r101", nonlocal_=places)
    assert (arguments["name"], arguments["nonlocal_"]) == ("i3d_r101", places)


@pytest.mark.parametrize(
    "options", [{"nonlocal_": {"res4": (4,)}}, {"name": "nl5_i3d_r50"}], ids=["places", "name"]
)
def test_blocks_that_a_file_has_not_are_refused(tmp_path, options):
    file = foreign.write(foreign.small("slowfast", "i3d_r50"), "slowfast", tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"missing: res[34]\.[14]\.nonlocal_block"):
        nln.from_checkpoint(file, **options)
    state = nln.build("c2d_r50", 5, width=4).state_dict()
    images = {
        theirs: value[:, :, 0].numpy() if value.ndim == 5 else value.numpy()
        for ours, value in state.items()
        for theirs in TABLES["torchvision"].theirs(ours)
    }
    file = foreign.write(images, "torchvision", tmp_path / "b.pth")
    assert nln.from_checkpoint(file)[0].config["name"] == "c2d_r50"
    with pytest.raises(ValueError, match=r"has no non-local blocks, and .* was asked for with"):
        nln.from_checkpoint(file, **options)


def test_another_depth_is_refused(tmp_path):
    weights = foreign.small("slowfast", name="i3d_r50")
    for key in [key for key in weights if key.startswith("s3.pathway0_res3.")]:
        weights[key.replace("res3", "res4")] = weights[key]
    file = foreign.write(weights, "slowfast", tmp_path / "m.pyth")
    with pytest.raises(ValueError, match=r"per stage are \(3, 5, 6, 3\), but ours"):
        nln.from_checkpoint(file)


def test_2d_kernels_of_mmaction2_are_its_c2d(tmp_path):
    """There C2D has the layout of the released 8x8 networks, or no pool over time at all."""
    flat = {
        key: value[:, :, 0] if value.ndim == 5 else value
        for key, value in foreign.small("mmaction2", name="c2d_r50").items()
    }
    for name, preset in [("c2d_r50-in1k", "official_8x8"), ("c2d-nopool_8x", "slowfast_nopool")]:
        file = foreign.write(flat, "mmaction2", tmp_path / f"{name}.pth")
        model, report = nln.from_checkpoint(file)
        assert (model.config["name"], model.config["preset"]) == ("c2d_r50", preset)
        assert len(report.inflated) == 53


@pytest.mark.parametrize("target", ["slowfast", "mmaction2"])
def test_there_and_back_changes_no_bit(tmp_path, target):
    weights = foreign.small(target)
    file = foreign.write(weights, target, tmp_path / "m.pth")
    convert(file, tmp_path / "m.safetensors", labels=LABELS)
    notes = convert_back(tmp_path / "m.safetensors", tmp_path / "back.pth", target)
    assert notes == []
    (state,) = torch.load(tmp_path / "back.pth", weights_only=True).values()
    back = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert set(back) == set(weights)
    assert all(torch.equal(back[key], torch.from_numpy(weights[key])) for key in weights)


@pytest.mark.parametrize("kind", ["embedded_gaussian", "gaussian", "dot_product", "concatenation"])
@pytest.mark.parametrize("norm", ["batch", None])
def test_a_network_of_ours_answers_the_same_as_an_mmaction2_one(tmp_path, kind, norm):
    """Its block has no last bias before a batch norm: the norm's mean takes ours up."""
    model = nln.build("nl1_i3d_r50", 5, "mmaction2", width=4, kind=kind, norm=norm)
    rng = torch.Generator().manual_seed(0)
    for block in nonlocal_blocks(model).values():
        for parameter in block.parameters():
            torch.nn.init.normal_(parameter, std=0.3, generator=rng)
    nln.save(model, tmp_path / "m.safetensors", labels=LABELS, clip={"frames": 8})
    assert convert_back(tmp_path / "m.safetensors", tmp_path / "m.pth", "mmaction2") == []
    options = {"kind": kind} if kind == "dot_product" else {}
    again, _ = nln.from_checkpoint(tmp_path / "m.pth", **options)
    torch.testing.assert_close(logits(again), logits(model), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(logits(again), logits(nln.build("i3d_r50", 5, width=4)))


def test_other_layouts_go_back_with_what_differs(tmp_path):
    model = nln.build("nl1_i3d_r50", 5, "paper", width=4, kind="gaussian")
    nln.save(model, tmp_path / "m.safetensors", labels=LABELS, clip={"frames": 8})
    notes = "\n".join(convert_back(tmp_path / "m.safetensors", tmp_path / "m.pyth", "slowfast"))
    assert "stem_stride_t is 2 here, 1 there" in notes
    assert "pool1 is ((3, 3, 3), (2, 2, 2), (1, 1, 1)) here" in notes
    assert "gaussian, which is unknown there" in notes
    model = nln.build("nl1_i3d_r50", 5, "slowfast", width=4, kind="concatenation")
    nln.save(model, tmp_path / "c.safetensors", labels=LABELS, clip={"frames": 8})
    with pytest.raises(ValueError, match=r"slowfast has no name for res4\.4\.nonlocal_block\.w_f"):
        convert_back(tmp_path / "c.safetensors", tmp_path / "c.pyth", "slowfast")
    assert not (tmp_path / "c.pyth").exists()


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("mmaction2", {"kind": "gaussian_distance"}, "are gaussian_distance, which is unknown"),
        ("mmaction2", {"kind": "gaussian", "subsample_input": True}, "subsample_input .* is True"),
        ("slowfast", {"norm": None}, "no batch norm here"),
        ("slowfast", {"group_frames": 4}, "group_frames of the blocks is 4 here, None there"),
        ("slowfast", {"inner_channels": 8}, "inner_channels of the blocks is 8 here, 32 there"),
        ("slowfast", {"stem_width": 8}, "width of conv1 is 8 here, 4 there"),
        ("slowfast", {"scale": 0.25}, r"scale of the blocks is 0\.25 here, 0\.1767.* there"),
    ],
    ids=str,
)
def test_what_differs_in_any_block_is_said(target, options, said):
    """With width 4, res3 has 16 inner channels and res4 32."""
    model = nln.build("nl5_i3d_r50", 5, target, width=4, **options)
    assert any(re.search(said, note) for note in state_dict_for(model, target)[1])


def test_what_differs_in_the_trunk_is_read_off_the_network():
    """Not off its preset's row: the small backbone keeps its frames whatever that says."""
    model = nln.build("nl1_i3d_tiny", 5, "slowfast")
    assert state_dict_for(model, "slowfast")[1] == [
        "residual blocks per stage are [1, 2, 2, 1] here, [3, 4, 6, 3] or [3, 4, 23, 3] there",
        "pool2 is None here, ((2, 1, 1), (2, 1, 1), (0, 0, 0)) there",
    ]
    model = nln.build("i3d_r50", 5, "slowfast", width=4, inflate_all=True)
    notes = state_dict_for(model, "slowfast")[1]
    assert [note.split(" is ")[0] for note in notes] == [
        f"kernels over time of {name}"
        for name in ("res3.1", "res3.3", "res4.1", "res4.3", "res4.5", "res5.0", "res5.2")
    ]
    (note,) = state_dict_for(nln.build("i3d333_r50", 5, "slowfast", width=4), "slowfast")[1]
    assert note == "its 3x3x3 kernels are unknown there"


def test_one_changed_weight_shows_in_the_probe(tmp_path):
    model = nln.build("nl1_c2d_tiny", 5)
    nln.save(model, tmp_path / "m.safetensors", labels=LABELS, clip={"frames": 8})
    assert verify(tmp_path / "m.safetensors") == 0
    with safe_open(tmp_path / "m.safetensors", "pt") as good:
        tensors = {key: good.get_tensor(key) for key in good.keys()}  # noqa: SIM118
        meta = good.metadata()
    tensors["fc.bias"][1] += 0.01
    save_file(tensors, tmp_path / "n.safetensors", meta)
    assert verify(tmp_path / "n.safetensors") == pytest.approx(0.01, rel=1e-3)
