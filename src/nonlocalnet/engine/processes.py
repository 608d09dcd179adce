"""The processes of torchrun: joined, told apart, and what each of them found put together."""

import os
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def join_processes() -> None:
    """Joins the processes of torchrun, if it started this one; Lightning then finds them joined.

    torchrun keeps one store through its restarts (seen in torch 2.14): in a common room of it, a
    restarted process would look for the others at the addresses of the dead.
    """
    env, group = os.environ, torch.distributed
    if env.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or group.is_initialized():
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(env["LOCAL_RANK"]))
    rank, world = int(env["RANK"]), int(env["WORLD_SIZE"])
    store = group.TCPStore(env["MASTER_ADDR"], int(env["MASTER_PORT"]), world, is_master=False)
    group.init_process_group(
        "nccl" if cuda else "gloo",
        store=group.PrefixStore(f"attempt {env['TORCHELASTIC_RESTART_COUNT']}", store),
        rank=rank,
        world_size=world,
    )


def place() -> tuple[int, int]:
    """(rank, processes in all); (0, 1) where there is but this one."""
    if not _joined():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def everyone(own: dict[int, T]) -> dict[int, T]:
    """The entries of all processes, by ascending key; each waits here for all others."""
    parts: list[Any] = [own]
    if _joined():
        parts = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, own)
    together = {key: entry for part in parts for key, entry in part.items()}
    return {key: together[key] for key in sorted(together)}


def _joined() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
