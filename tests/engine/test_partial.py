"""A test that was killed or shared out among processes leaves the same results.json, bit for bit.

Everything here is the real thing: the test command, SIGKILL, torchrun, gloo.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import nonlocalnet as nln
from nonlocalnet.cli.main import main
from nonlocalnet.data.clips import ClipConfig
from nonlocalnet.data.folder import read_folder
from nonlocalnet.engine.partial import Partial, Scored, key_of
from nonlocalnet.engine.protocol import Protocol
from nonlocalnet.engine.testing import run_test

CLIP = ClipConfig(frames=4, stride=2, crop=32, short_side=(32, 40), test_short_side=32, flip=False)
LABELS = ["down", "up"]
FILES = {"results.json", "per_class.csv", "confusion.csv", "confusion.png", "worst.png"}
FILES |= {"report.html", "explorer"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def network(seed):
    torch.manual_seed(seed)
    net = nln.build("nl1_i3d_tiny", 2, width=4, head_window=1).eval()
    torch.nn.init.normal_(net.fc.weight)
    return net


@pytest.fixture(scope="module")
def model():
    return network(0)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    nln.save(model, path, labels=LABELS, clip=vars(CLIP))
    return path


def command(saved, bars, out, *more):
    return [
        *("-m", "nonlocalnet", "test", str(saved), "--data", str(bars), "--workers", "0"),
        *("--json", "--out", str(out), *more),
    ]


def finish(arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def whole(saved, bars, tmp_path_factory):
    """results.json of a test that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "results.json"
    finish([sys.executable, *command(saved, bars, out)])
    assert {path.name for path in out.parent.iterdir()} == FILES
    return out.read_bytes()


def lines(folder):
    files = folder.glob("results.partial*.jsonl")
    return sum(max(0, file.read_bytes().count(b"\n") - 1) for file in files)


def kill_when(process, folder, videos):
    """SIGKILL to the process and all that it started, once so many videos are scored."""
    end = time.monotonic() + 180
    while lines(folder) < videos and process.poll() is None:
        assert time.monotonic() < end, "the test did not come so far"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def start(arguments):
    return subprocess.Popen(
        arguments,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        start_new_session=True,
    )


def test_a_killed_test_goes_on_to_the_same_results(saved, bars, whole, tmp_path):
    out, rng = tmp_path / "results.json", np.random.default_rng(0)
    for videos in (1, 3):
        process = start([sys.executable, *command(saved, bars, out)])
        kill_when(process, tmp_path, videos)
        time.sleep(rng.random() * 0.01)
        assert lines(tmp_path) >= videos and not out.exists()
    before = (tmp_path / "results.partial.jsonl").read_bytes()
    (tmp_path / "results.partial.jsonl").write_bytes(before + b'{"index": 5, "sco')  # torn
    finish([sys.executable, *command(saved, bars, out)])
    assert out.read_bytes() == whole
    assert {path.name for path in tmp_path.iterdir()} == FILES


@pytest.mark.long
def test_a_test_killed_at_random_moments_ends_with_the_same_results(saved, bars, whole, tmp_path):
    """While it starts, tests or writes; by one process or two, in turns."""
    out, rng = tmp_path / "results.json", np.random.default_rng(1)
    for kill in range(10):
        launcher = TORCHRUN if kill % 2 else [sys.executable]
        process = start([*launcher, *command(saved, bars, out)])
        time.sleep(rng.random() * (16 if kill % 2 else 8))
        kill_when(process, tmp_path, 0)
    finish([sys.executable, *command(saved, bars, out)])
    assert out.read_bytes() == whole
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_two_processes_write_what_one_does(saved, bars, whole, tmp_path):
    """Of 6 videos, then of the odd number that is left after a kill: each is tested once."""
    out = tmp_path / "results.json"
    said = finish([*TORCHRUN, *command(saved, bars, out)])
    assert out.read_bytes() == whole
    assert json.loads(said) == json.loads(whole)["metrics"]  # said once
    out.unlink()
    process = start([sys.executable, *command(saved, bars, out)])
    kill_when(process, tmp_path, 1)
    keep = (tmp_path / "results.partial.jsonl").read_bytes().splitlines(keepends=True)[:2]
    (tmp_path / "results.partial.jsonl").write_bytes(b"".join(keep))  # 5 videos are left
    finish([*TORCHRUN, *command(saved, bars, out)])
    assert out.read_bytes() == whole
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_one_process_goes_on_where_two_were_killed(saved, bars, whole, tmp_path):
    out = tmp_path / "results.json"
    process = start([*TORCHRUN, *command(saved, bars, out)])
    kill_when(process, tmp_path, 2)
    assert lines(tmp_path) >= 2
    finish([sys.executable, *command(saved, bars, out)])
    assert out.read_bytes() == whole
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_what_is_known_is_not_computed_again(model, bars, tmp_path):
    """And what is not known is: a row that says otherwise shows in the results."""
    samples = read_folder(bars).splits["test"]
    partial = Partial(tmp_path / "results.json")
    clean = run_test(model, LABELS, samples, CLIP, Protocol(clips=2), partial=partial)
    assert lines(tmp_path) == len(samples)
    file = tmp_path / "results.partial.jsonl"
    rows = file.read_text().splitlines()
    marked = json.loads(rows[2]) | {"scores": [0.25, 0.75]}
    file.write_text("\n".join([*rows[:2], json.dumps(marked)]) + "\n")  # 2 of 6 known
    calls = []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    results = run_test(model, LABELS, samples, CLIP, Protocol(clips=2), partial=partial, workers=0)
    handle.remove()
    assert len(calls) == 2 * 4
    assert results["videos"][1]["scores"] == [0.25, 0.75]
    others = [i for i in range(6) if i != 1]
    assert [results["videos"][i] for i in others] == [clean["videos"][i] for i in others]


def test_rows_of_another_test_are_not_taken(model, bars, tmp_path):
    """Other weights, views, clips, videos, files, or chunks: another test."""
    samples = read_folder(bars).splits["test"]
    protocol = Protocol(clips=1)
    keys = {
        key_of(network, videos, LABELS, clip, seen, chunk)
        for network, videos, clip, seen, chunk in (
            (model, samples, CLIP, protocol, 1),
            (network(1), samples, CLIP, protocol, 1),
            (model, samples[1:], CLIP, protocol, 1),
            (model, samples[::-1], CLIP, protocol, 1),
            (model, samples, ClipConfig(), protocol, 1),
            (model, samples, CLIP, Protocol(clips=1, softmax="pooled"), 1),
            (model, samples, CLIP, protocol, 2),
        )
    }
    assert len(keys) == 7
    assert key_of(network(0), list(samples), LABELS, CLIP, protocol, 1) in keys
    stat = samples[0].video.path.stat()
    os.utime(samples[0].video.path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1000))
    assert key_of(model, samples, LABELS, CLIP, protocol, 1) not in keys
    frame = tmp_path / "frames" / "1.png"
    frame.parent.mkdir()
    frame.write_text("before")
    folder = [replace(samples[0], video=replace(samples[0].video, path=frame.parent))]
    before = key_of(model, folder)
    frame.write_text("after it")
    assert key_of(model, folder) != before
    partial = Partial(tmp_path / "results.json")
    run_test(model, LABELS, samples, CLIP, protocol, partial=partial)
    assert Partial(tmp_path / "results.json").begin("another") == {}
    assert lines(tmp_path) == 0


def test_rows_read_back_bit_for_bit(tmp_path):
    scores = torch.rand(400, generator=torch.Generator().manual_seed(0)) ** 9
    partial = Partial(tmp_path / "a.b" / "results.json")
    assert partial.begin("key") == {}
    partial.append(7, Scored(scores, [0, 399]))
    (found,) = Partial(tmp_path / "a.b" / "results.json").begin("key").items()
    assert found[0] == 7 and torch.equal(found[1].scores, scores) and found[1].clips == [0, 399]
    partial.remove()
    assert list((tmp_path / "a.b").iterdir()) == []


def test_an_unreadable_video_is_tried_again(model, bars, tmp_path):
    """A disk that was away while the test ran is no reason to leave its videos out."""
    samples = read_folder(bars).splits["test"]
    partial, protocol = Partial(tmp_path / "results.json"), Protocol(clips=1)
    path = samples[2].video.path
    whole = run_test(model, LABELS, samples, CLIP, protocol)
    stat = path.stat()
    content = path.read_bytes()
    try:
        path.write_bytes(bytes(len(content)))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        broken = run_test(model, LABELS, samples, CLIP, protocol, partial=partial)
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert broken["protocol"]["missing"] == 1 and lines(tmp_path) == 5
    assert run_test(model, LABELS, samples, CLIP, protocol, partial=partial) == whole


def test_a_chunk_below_one_is_one_sentence(saved, bars, tmp_path, capsys):
    arguments = command(saved, bars, tmp_path / "r.json", "--chunk", "0")[2:]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said == "nonlocalnet: chunk must be 1 view per forward pass or more, got 0\n"
