"""How every run begins, of clips or of images: the loop of its plan, and its config.yaml."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from nonlocalnet.engine.loop import Loop
from nonlocalnet.engine.schedule import cosine, tenths
from nonlocalnet.files import write_atomically
from nonlocalnet.recipes.config import Machine
from nonlocalnet.recipes.detection import DetectionPlan
from nonlocalnet.recipes.recipe import TrainConfig


def loop_of(
    plan: TrainConfig | DetectionPlan,
    machine: Machine,
    batch: int | None,
    what: str,
    say: Callable[[str], None],
    progress: bool,
) -> Loop:
    """A plan's loop on a machine: its batches shared out, and the learning rate that follows them.

    Args:
        plan: Steps, optimiser, schedule.
        machine: Precision, workers, accumulation.
        batch: Samples per process and forward pass; None: the plan's, shared out.
        what: The samples, such as "clips".
        say: Hears of a learning rate that is not the plan's.
        progress: Show a progress bar.

    Raises:
        ValueError: A schedule that does not fit its steps, or less than one of what is counted.
    """
    whole = {"batch": plan.batch, "checkpoint_every": plan.checkpoint_every}
    whole["accumulate"] = machine.accumulate
    whole["max_steps"] = 1 if machine.max_steps is None else machine.max_steps
    if wrong := [f"{name}={value}" for name, value in whole.items() if value < 1]:
        raise ValueError(f"{', '.join(wrong)} must be 1 or more")
    if plan.warmup >= plan.steps:
        raise ValueError(f"a warm-up of {plan.warmup} steps in a run of {plan.steps}; shorten it")
    late = [step for step in plan.decay_at if step >= plan.steps]
    if plan.schedule == "steps" and late:
        raise ValueError(
            f"the learning rate is to fall at step {late[0]}, after the run's {plan.steps} steps; "
            "give --train.decay_at that fits, or --train.schedule cosine"
        )
    world = int(os.environ.get("WORLD_SIZE", 1))
    batch = batch or max(1, plan.batch // (world * machine.accumulate))
    per_step = batch * machine.accumulate * world
    rate = plan.lr * per_step / plan.batch
    if per_step != plan.batch:
        say(
            f"{per_step} {what} per step instead of {plan.batch}: learning rate {rate:g} instead "
            f"of {plan.lr:g}; the schedule keeps its {plan.steps} steps"
        )
    return Loop(
        steps=plan.steps,
        batch=batch,
        lr=rate,
        schedule=partial(cosine, steps=plan.steps, warmup=plan.warmup)
        if plan.schedule == "cosine"
        else partial(tenths, decay_at=plan.decay_at, warmup=plan.warmup),
        accumulate=machine.accumulate,
        max_steps=machine.max_steps,
        optimizer=plan.optimizer,
        weight_decay=plan.weight_decay,
        clip_norm=plan.clip_norm,
        validate_every=plan.validate_every,
        checkpoint_every=plan.checkpoint_every,
        precision=machine.precision,
        workers=machine.workers,
        seed=plan.seed,
        progress=progress,
    )


def check_run_folder(out: Path, resume: bool) -> None:
    """Whether a training may write there: into a new folder, or on with the run that it holds.

    Raises:
        ValueError: It would write over a run.
    """
    last, best = (out / "last.ckpt").exists(), (out / "best.safetensors").exists()
    if (last or best) and not resume:
        raise ValueError(
            f"{out} already holds a run; go on with --resume, or choose another folder with --out"
        )
    if best and not last:
        raise ValueError(
            f"{out} holds a model, but no last.ckpt to go on from; choose another folder with --out"
        )


def write_config(out: Path, settings: dict[str, Any]) -> None:
    """Writes config.yaml, or finds that the run to go on with has the same one.

    Raises:
        ValueError: It has another one.
    """
    text = yaml.safe_dump(settings, sort_keys=False)
    file = out / "config.yaml"
    if (out / "last.ckpt").exists() and file.exists() and file.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{file}: this run has other settings than those given now; "
            "resume with the same, or choose another folder with --out"
        )
    write_atomically(file, text.encode())
