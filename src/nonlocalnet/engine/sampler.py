"""Which sample is trained on when: a pure function of the seed and the step."""

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler


class StepBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) for steps 0 .. steps - 1; each epoch is its own permutation.

    A run that resumes asks again from its step on and sees what the unbroken run would have seen.

    Args:
        size: Samples in the set.
        batch: Samples per step and process.
        steps: Steps of the whole run.
        seed: Of the permutations.
        first_step: Says, when iteration begins, at which step the run stands.
        rank: This process.
        world: Number of processes; they share each step's world * batch samples out.

    Example:
        >>> batches = list(StepBatches(size=3, batch=2, steps=3, seed=0))
        >>> [[epoch for epoch, _ in batch] for batch in batches]
        [[0, 0], [0, 1], [1, 1]]
        >>> sorted(index for batch in batches for epoch, index in batch if epoch == 0)
        [0, 1, 2]
    """

    def __init__(
        self,
        *,
        size: int,
        batch: int,
        steps: int,
        seed: int,
        first_step: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.size, self.batch, self.steps, self.seed = size, batch, steps, seed
        self.first_step, self.rank, self.world = first_step, rank, world

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order_of = (-1, np.arange(0))
        for step in range(self.first_step(), self.steps):
            first = (step * self.world + self.rank) * self.batch
            keys = []
            for position in range(first, first + self.batch):
                epoch, place = divmod(position, self.size)
                if order_of[0] != epoch:
                    order_of = (
                        epoch,
                        np.random.default_rng((self.seed, epoch)).permutation(self.size),
                    )
                keys.append((epoch, int(order_of[1][place])))
            yield keys
