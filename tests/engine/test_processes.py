"""Several processes under torchrun, and runs that are killed: the result is that of one whole run.

Everything here is the real thing: torchrun, gloo, the train command, SIGKILL.
"""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
TRAIN = ["-m", "nonlocalnet", "train"]
OPTIONS = ["--model", "nl1_i3d_tiny", "--width", "4", "--frames", "4", "--stride", "2"]
OPTIONS += ["--crop", "32", "--batch", "4", "--flip", "false", "--workers", "0", "--json"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def finish(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def weights(run):
    return torch.load(run / "last.ckpt", weights_only=True)


def test_two_processes_are_one_that_accumulates(bars, tmp_path):
    """Same clips per step, shared out otherwise; the 6 test videos are counted once each."""
    script = [str(HERE / "ddp_run.py"), str(bars)]
    finish([*TORCHRUN, "--nproc-per-node=2", *script, str(tmp_path / "two"), "1"])
    finish([sys.executable, *script, str(tmp_path / "one"), "2"])
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        for name in ("train_loss", "train_error", "val_loss", "val_error", "lr", "epoch"):
            assert bool(a[name]) == bool(b[name])
            assert float(a[name] or 0) == pytest.approx(float(b[name] or 0), rel=1e-5, abs=1e-9)
    errors = {row["val_error"] for row in two if row["val_error"]}
    assert all(round(float(error) * 5, 3) in range(6) for error in errors)  # of 5 videos
    states = [weights(tmp_path / name)["state_dict"] for name in ("one", "two")]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-4, atol=1e-6, msg=name)


def test_a_rank_that_dies_is_restarted_and_the_run_goes_on(bars, tmp_path):
    out = tmp_path / "run"
    command = [*TORCHRUN, "--nproc-per-node=2", "--max-restarts=2", *TRAIN, str(bars)]
    command += [*OPTIONS, "--epochs", "40", "--out", str(out), "--resume"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    wait_for(lambda: (out / "last.ckpt").exists(), process)
    before = weights(out)["global_step"]
    rank_one = [
        int(pid.name)
        for pid in Path("/proc").iterdir()
        if pid.name.isdecimal() and "RANK=1" in environment_of(pid) and str(out) in command_of(pid)
    ]
    os.kill(rank_one[0], signal.SIGKILL)
    try:
        _, errors = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 0, errors[-3000:]
    assert 0 < before < weights(out)["global_step"] == 100
    steps = [int(row["step"]) for row in rows(out) if row["train_loss"]]
    assert steps == sorted(set(steps))


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_killed_at_ten_random_moments_ends_with_the_same_bits(bars, tmp_path, workers):
    command = [sys.executable, *TRAIN, str(bars), *OPTIONS, "--epochs", "64"]
    command += ["--workers", str(workers), "--resume", "--out"]
    finish([*command, str(tmp_path / "whole")])
    out, rng = tmp_path / "killed", np.random.default_rng(workers)
    for kill in range(10):
        process = subprocess.Popen(
            [*command, str(out)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        target = int((kill + rng.random()) * 16)
        wait_for(lambda target=target: logged(out) >= target, process)
        time.sleep(rng.random() * 0.3)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finish([*command, str(out)])
    whole, killed = weights(tmp_path / "whole"), weights(out)
    assert whole["global_step"] == killed["global_step"] == 160
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, killed["state_dict"][name]), name
    states = [c["optimizer_states"][0]["state"] for c in (whole, killed)]
    for key, state in states[0].items():
        for name, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][key][name])), name
    clocks = {"clips_per_second", "data_wait"}
    plain = [
        [{k: v for k, v in row.items() if k not in clocks} for row in rows(run)]
        for run in (tmp_path / "whole", out)
    ]
    assert plain[0] == plain[1]


def test_a_full_disk_keeps_the_previous_checkpoint(bars, tmp_path):
    """A limit on the size of files stands in for the disk; the checkpoint is larger than it."""
    out = tmp_path / "run"
    command = [sys.executable, *TRAIN, str(bars), *OPTIONS, "--resume", "--out", str(out)]
    finish([*command, "--epochs", "40", "--max_steps", "10"])
    before = (out / "last.ckpt").read_bytes()
    limit = f'ulimit -f {len(before) // 1024 - 8}; exec "$@"'
    done = subprocess.run(
        ["bash", "-c", limit, "_", *command, "--epochs", "40"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode != 0
    assert (out / "last.ckpt").read_bytes() == before
    finish([*command, "--epochs", "40"])
    assert weights(out)["global_step"] == 100


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_run_interrupted_goes_on_as_if_it_had_not_been(bars, tmp_path, workers):
    """Ctrl-C reaches the workers as well: the step is done, then there is a checkpoint."""
    command = [sys.executable, *TRAIN, str(bars), *OPTIONS, "--epochs", "40"]
    command += ["--workers", workers, "--resume", "--out"]
    out = tmp_path / "run"
    process = subprocess.Popen(
        [*command, str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    wait_for(lambda: logged(out) >= 10, process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors[-3000:]
    said = (
        "stopping after this step; Ctrl-C again stops at once\ninterrupted; what was done is kept"
    )
    assert errors.strip() == said
    assert 10 <= weights(out)["global_step"] < 100
    finish([*command, str(out)])
    finish([*command, str(tmp_path / "whole")])
    whole, again = weights(tmp_path / "whole"), weights(out)
    assert whole["global_step"] == again["global_step"] == 100
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, again["state_dict"][name]), name


def test_a_damaged_checkpoint_and_a_model_without_one_are_one_sentence(bars, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, *TRAIN, str(bars), *OPTIONS, "--epochs", "40", "--out", str(out)]
    finish([*command, "--max_steps", "4"])
    last, best = (out / name for name in ("last.ckpt", "best.safetensors"))
    model = best.read_bytes()
    for size in (5000, 0):
        last.write_bytes(last.read_bytes()[:size])
        assert f"{last}: damaged or cut off" in refused([*command, "--resume"])
    last.unlink()
    assert f"{out} already holds a run" in refused(command)
    assert f"{out} holds a model, but no last.ckpt" in refused([*command, "--resume"])
    assert best.read_bytes() == model


def refused(command):
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 2, done.stderr[-3000:]
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def wait_for(condition, process, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return
        assert time.monotonic() < end, "the run did not come so far"
        time.sleep(0.02)


def logged(run):
    return max((int(row["step"]) for row in rows(run)), default=0) if run_began(run) else 0


def run_began(run):
    return (run / "metrics.csv").exists()


def environment_of(pid):
    try:
        return (pid / "environ").read_text().split("\0")
    except OSError:
        return []


def command_of(pid):
    try:
        return (pid / "cmdline").read_text()
    except OSError:
        return ""
