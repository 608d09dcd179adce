"""Files that no reader of weights should accept, by format: what they are, and how to make them.

Whatever runs inside one of them writes the file `MARK`, which a test then finds.
"""

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

MARK = "payload_ran"


class Runs:
    """Runs a command when unpickled."""

    def __init__(self, mark: Path, how: str = "system") -> None:
        self.mark, self.how = mark, how

    def __reduce__(self):
        import os

        if self.how == "eval":
            return eval, (f"__import__('pathlib').Path({str(self.mark)!r}).touch()",)
        return os.system, (f"touch {self.mark}",)


class RunsInState(OrderedDict):
    """A known class whose state is a call."""

    mark: Path

    def __reduce__(self):
        return OrderedDict, (), {"x": Runs(self.mark)}


def _good() -> dict[str, np.ndarray]:
    return {"conv1_w": np.ones((4, 3, 1, 7, 7), np.float32), "pred_b": np.ones(2, np.float32)}


def _objects(mark: Path) -> np.ndarray:
    array = np.empty(1, object)
    array[0] = Runs(mark)
    return array


def _dump(content, **blobs) -> bytes:
    return pickle.dumps({"blobs": {**content, **blobs}}, protocol=2)


def pickles(mark: Path) -> dict[str, bytes]:
    """Bad pickles of arrays, by what is bad about them."""
    state = RunsInState()
    state.mark = mark
    good = _dump(_good())
    shape = pickle.dumps(np.ones(3, np.float32), protocol=2)
    assert shape.count(b"K\x03\x85") == 1  # the shape (3,)
    huge = shape.replace(b"K\x03\x85", b"\x8a\x05" + (2**36).to_bytes(5, "little") + b"\x85")
    return {
        "system": _dump({"w": Runs(mark)}),
        "eval": _dump({"w": Runs(mark, "eval")}),
        "call_in_a_key": b"\x80\x02}(cposix\nsystem\nX\x05\x00\x00\x00touch\x85RK\x01u.",
        "call_in_an_object_array": _dump({"w": _objects(mark)}),
        "call_in_a_state": pickle.dumps({"blobs": state}, protocol=2),
        "state_of_a_class": b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",
        "import_of_ours": b"\x80\x02cnonlocalnet.cli.main\nmain\n]\x85R.",
        "outside_itself": b"\x80\x02X\x01\x00\x00\x00aQ.",
        "array_that_claims_gigabytes": b"\x80\x02}X\x01\x00\x00\x00w" + huge[2:-1] + b"s.",
        "cut_off": good[: len(good) // 2],
        "empty": b"",
        "a_web_page": b"<!DOCTYPE html><html>403 Forbidden</html>",
        "noise": bytes(np.random.default_rng(0).integers(0, 256, 4096, np.uint8)),
        "a_list": pickle.dumps([1, 2], protocol=2),
        "text_for_a_tensor": _dump({"conv1_w": "weights"}),
        "no_tensors": pickle.dumps({"blobs": {}}, protocol=2),
    }


def _save(content, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def _with_entry(
    archive: bytes, name: str, content: bytes | None, add: bool = False, **options
) -> bytes:
    """The archive with one entry replaced, taken out, or added."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as old,
        zipfile.ZipFile(out, "w", **options) as new,
    ):
        for entry in old.infolist():
            if not entry.filename.endswith(name):
                new.writestr(entry.filename, old.read(entry))
            elif content is not None:
                new.writestr(entry.filename, content)
        if add:
            new.writestr(f"archive/{name}", content or b"")
    return out.getvalue()


def _torch_state() -> dict:
    return {"model_state": {name: torch.from_numpy(a) for name, a in _good().items()}}


def nest_of_tuples() -> bytes:
    """Of a pickle: a tuple of 2 ** 60 leaves, which nobody can hash or print."""
    return b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60))


def _nest_for_a_name() -> bytes:
    return b"\x80\x02}" + nest_of_tuples() + b"K\x01s."


def torch_zips(mark: Path) -> dict[str, bytes]:
    """Bad files of torch.save, by what is bad about them."""
    good = _save(_torch_state())
    stretched = torch.ones(1).expand(10**6, 10**6)
    return {
        "system": _save({"model_state": {"w": Runs(mark)}}),
        "eval_beside_the_state": _save({**_torch_state(), "epoch": Runs(mark, "eval")}),
        "call_in_an_object_array": _save({"model_state": {"w": _objects(mark)}}),
        "pickle_replaced": _with_entry(good, "data.pkl", pickle.dumps(Runs(mark), protocol=2)),
        "no_pickle": _with_entry(good, "data.pkl", None),
        "no_storage": _with_entry(good, "data/0", None),
        "short_storage": _with_entry(good, "data/0", b"\0" * 8),
        "packed": _with_entry(good, "none", None, compression=zipfile.ZIP_DEFLATED),
        "whole_module": _save(nn.Linear(2, 2)),
        "nest_for_a_name": _with_entry(good, "data.pkl", _nest_for_a_name()),
        "torchscript": _with_entry(good, "constants.pkl", b"", add=True),
        "stretched": _save({"w": stretched}),
        "cut_off": good[: len(good) // 2],
        "any_zip": _with_entry(_with_entry(good, "data.pkl", None), "version", None),
        "complex": _save({"w": torch.ones(2, dtype=torch.complex64)}),
        "sparse": _save({"w": torch.eye(2).to_sparse()}),
    }


def torch_legacy(mark: Path) -> dict[str, bytes]:
    """Bad files of torch.save as it was before it zipped."""
    good = _save(_torch_state(), legacy=True)
    magic = good[: good.index(b".") + 1]
    protocol = pickle.dumps(1001, protocol=2)
    bomb = pickle.dumps(Runs(mark), protocol=2)
    return {
        "system": _save({"model_state": {"w": Runs(mark)}}, legacy=True),
        "eval": _save({"w": Runs(mark, "eval")}, legacy=True),
        "call_in_an_object_array": _save({"w": _objects(mark)}, legacy=True),
        "call_for_the_protocol": magic + bomb,
        "nest_for_a_name": magic + protocol + _nest_for_a_name(),
        "call_for_the_system": magic + protocol + bomb,
        "call_for_the_storages": good[: -len(good) // 4] + bomb,
        "whole_module": _save(nn.Linear(2, 2), legacy=True),
        "cut_off": good[: len(good) // 2],
        "without_storages": good[:-1024],
        "magic_only": magic,
    }


def _safetensors(header: bytes | dict, data: bytes = b"", size: int | None = None) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head) if size is None else size) + head + data


def safetensors(good: bytes) -> dict[str, bytes]:
    """Bad safetensors files; `good` is a model file of ours, some are made of."""
    length = struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8 : 8 + length])
    data = good[8 + length :]
    meta = json.loads(header["__metadata__"]["nonlocalnet"])

    def with_meta(**changed) -> bytes:
        text = json.dumps({**meta, **changed})
        return _safetensors({**header, "__metadata__": {"nonlocalnet": text}}, data)

    first = next(name for name in header if name != "__metadata__")
    entry = header[first]
    less = {name: value for name, value in header.items() if name != "fc.bias"}
    start, stop = header["fc.bias"]["data_offsets"]
    moved = {
        name: {
            **value,
            "data_offsets": [o - (stop - start) * (o >= stop) for o in value["data_offsets"]],
        }
        for name, value in less.items()
        if name != "__metadata__"
    }
    return {
        "header_longer_than_the_file": _safetensors(b"{", size=2**40),
        "header_no_json": _safetensors(b"{" + b"\0" * 64),
        "offsets_outside": _safetensors({"w": {**entry, "data_offsets": [0, 2**40]}}),
        "shape_against_bytes": _safetensors({**header, first: {**entry, "shape": [2**30]}}, data),
        "unknown_type": _safetensors({**header, first: {**entry, "dtype": "F31"}}, data),
        "cut_off": good[: len(good) // 2],
        "empty": b"",
        "metadata_no_json": _safetensors({**header, "__metadata__": {"nonlocalnet": "{"}}, data),
        "metadata_a_list": _safetensors({**header, "__metadata__": {"nonlocalnet": "[]"}}, data),
        "unknown_network": with_meta(model={"name": "resnet9000"}),
        "unknown_option": with_meta(model={**meta["model"], "system": "touch"}),
        "giant_network": with_meta(model={**meta["model"], "width": 10**6}),
        "other_network": with_meta(model={**meta["model"], "num_classes": 7}),
        "no_probe": with_meta(probe=None),
        "labels_missing": with_meta(labels=meta["labels"][1:]),
        "labels_no_text": with_meta(labels=list(range(len(meta["labels"])))),
        "one_logit_for_all": with_meta(probe={**meta["probe"], "logits": [0.0]}),
        "metadata_too_deep": _safetensors(
            {**header, "__metadata__": {"nonlocalnet": "[" * 10**5}}, data
        ),
        "tensor_missing": _safetensors(
            {"__metadata__": header["__metadata__"], **moved}, data[:start] + data[stop:]
        ),
    }
