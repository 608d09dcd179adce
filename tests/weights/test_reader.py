"""Files of four formats come in as tensors, and what else a pickle asks for is named.

All hostile and damaged files go through the command in tests/cli/test_convert.py.
"""

import io
import pickle
import resource
import struct

import hostile
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nonlocalnet.weights.reader import read_checkpoint

RNG = np.random.default_rng(0)
ARRAYS = {
    "f4": RNG.standard_normal((3, 2)).astype(np.float32),
    "fortran": np.asfortranarray(RNG.standard_normal((3, 2)).astype(np.float32)),
    "big_endian": RNG.standard_normal(5).astype(">f4"),
    "f8": RNG.standard_normal(2),
    "i8": np.arange(4),
    "flags": np.array([True, False]),
    "none": np.zeros((0, 3), np.float32),
    "point": np.array(2.5, np.float32),
}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("wrapped", [True, False])
def test_pickled_arrays_of_every_protocol(tmp_path, protocol, wrapped):
    blobs = {**ARRAYS, "lr": np.float32(0.5), "model_iter": 400}
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs} if wrapped else blobs, protocol=protocol))
    tensors = read_checkpoint(path).tensors
    assert tensors.pop("lr") == 0.5
    assert tensors.pop("model_iter") == 400
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(tensors[name].numpy(), array)


def test_a_pickle_of_python_2(tmp_path):
    """cPickle there writes bytes as text, and numpy under its old name."""
    array = np.array([1.5, -2.0], "<f4")
    text = array.tobytes().decode("latin1").encode("latin1")
    written = (
        b"\x80\x02}U\x05blobs}U\x07conv1_w"
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U" + bytes([len(text)]) + text + b"tbss."
    )
    (tmp_path / "m.pkl").write_bytes(written)
    tensors = read_checkpoint(tmp_path / "m.pkl").tensors
    np.testing.assert_array_equal(tensors["conv1_w"].numpy(), array)


@pytest.mark.parametrize("prefix", ["module.", "module.module.", "_orig_mod.", "model._orig_mod."])
def test_what_wraps_a_network_leaves_no_trace_in_the_names(tmp_path, prefix):
    torch.save({"state_dict": {f"{prefix}a": torch.ones(2)}}, tmp_path / "m.ckpt")
    assert list(read_checkpoint(tmp_path / "m.ckpt").tensors) == ["a"]


@pytest.mark.parametrize("wrapper", [None, "model_state", "state_dict", "model"])
@pytest.mark.parametrize("legacy", [True, False])
def test_files_of_torch(tmp_path, wrapper, legacy):
    state = {"module.a": torch.randn(3, 2).T, "module.b": torch.nn.Parameter(torch.randn(4).half())}
    around = {"epoch": 3, "cfg": "kind: x", "best": np.float64(0.7), "scores": ARRAYS["f4"]}
    content = {wrapper: state, **around} if wrapper else state
    torch.save(content, tmp_path / "m.pth", _use_new_zipfile_serialization=not legacy)
    checkpoint = read_checkpoint(tmp_path / "m.pth")
    assert set(checkpoint.tensors) == {"a", "b"}
    assert torch.equal(checkpoint.tensors["a"], state["module.a"])
    assert not checkpoint.tensors["b"].requires_grad
    assert checkpoint.text == ("m.pth\nkind: x" if wrapper else "m.pth\n")


@pytest.mark.parametrize("legacy", [True, False])
def test_settings_beside_the_weights_may_have_numbers_and_pairs_for_names(tmp_path, legacy):
    around = {"optimizer": {"state": {0: {"step": 1}}}, "sizes": {(3, "a"): None, None: 1.5}}
    content = {"state_dict": {"a": torch.ones(2)}, **around}
    torch.save(content, tmp_path / "m.pth", _use_new_zipfile_serialization=not legacy)
    assert list(read_checkpoint(tmp_path / "m.pth").tensors) == ["a"]


def test_safetensors_of_anybody(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "m.safetensors")
    assert torch.equal(read_checkpoint(tmp_path / "m.safetensors").tensors["a"], torch.ones(2))


def refusal(path):
    with pytest.raises(ValueError, match=str(path)) as caught:
        read_checkpoint(path)
    said = str(caught.value)
    assert "\n" not in said
    return said


FORMATS = {"pkl": hostile.pickles, "pth": hostile.torch_zips, "old.pth": hostile.torch_legacy}


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_a_pickle_asked_for_is_named(tmp_path, suffix):
    path = tmp_path / "m"
    path.write_bytes(FORMATS[suffix](tmp_path / hostile.MARK)["system"])
    assert "refused, because it asks for posix.system" in refusal(path)


def test_the_payloads_do_run_where_nothing_stops_them(tmp_path):
    """So that the tests above can fail."""
    for how in ("system", "eval"):
        mark = tmp_path / how
        pickle.load(io.BytesIO(pickle.dumps(hostile.Runs(mark, how))))
        assert mark.exists()


def test_a_missing_file_and_a_folder(tmp_path):
    assert "no such file" in refusal(tmp_path / "m.pth")
    assert "a folder" in refusal(tmp_path)


def test_what_a_pickle_says_of_sizes_takes_no_memory(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (tmp_path / "m.pkl").write_bytes(b"\x80\x05\x96" + struct.pack("<Q", 2**31) + b"few.")
    assert "not a checkpoint that can be read" in refusal(tmp_path / "m.pkl")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 2**18  # KiB


def test_a_nest_of_tuples_costs_nothing(tmp_path):
    """2 ** 60 leaves in 200 bytes: whoever hashes or prints it never ends."""
    nest = hostile.nest_of_tuples()
    for number, (content, said) in enumerate(
        [
            (b"\x80\x02}" + nest + b"K\x01s.", "has a tuple in the place of a name"),
            (b"\x80\x02}(" + nest + b"K\x01u.", "has a tuple in the place of a name"),
            (b"(" + nest + b"K\x01d.", "has a tuple in the place of a name"),
            (b"\x80\x02}X\x01\0\0\0a" + nest + b"s.", "a is a tuple, not a tensor"),
        ]
    ):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(content)
        assert said in refusal(path)
