"""Which sample is trained on when: a pure function of the seed and the step."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class StepBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) for steps 0 .. steps - 1; each epoch is its own permutation.

    A run that resumes asks again from its step on and sees what the unbroken run would have seen,
    and processes and accumulated batches share out what one large batch would hold.

    Args:
        size: Samples in the set.
        batch: Samples per batch.
        steps: Steps of the whole run.
        seed: Of the permutations.
        accumulate: Batches per step and process.
        first_step: Says, when iteration begins, at which step the run stands.
        rank: This process.
        world: Number of processes.
        classes: Of each sample; given, every epoch holds every class equally often (to one).

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
        accumulate: int = 1,
        first_step: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world: int = 1,
        classes: Sequence[int] | None = None,
    ) -> None:
        self.size, self.batch, self.steps, self.seed = size, batch, steps, seed
        self.accumulate, self.first_step = accumulate, first_step
        self.rank, self.world, self.classes = rank, world, classes

    def __len__(self) -> int:
        return self.steps * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order_of = (-1, np.arange(0))
        for number in range(self.first_step() * self.accumulate, self.steps * self.accumulate):
            first = (number * self.world + self.rank) * self.batch
            keys = []
            for position in range(first, first + self.batch):
                epoch, place = divmod(position, self.size)
                if order_of[0] != epoch:
                    order_of = (epoch, self._order(epoch))
                keys.append((epoch, int(order_of[1][place])))
            yield keys

    def _order(self, epoch: int) -> np.ndarray:  # (size,)
        rng = np.random.default_rng((self.seed, epoch))
        if self.classes is None:
            return rng.permutation(self.size)
        classes = np.asarray(self.classes)
        names = rng.permutation(np.unique(classes))  # the first ones get what does not divide
        draws = []
        for place, name in enumerate(names):
            members = np.flatnonzero(classes == name)
            wanted = self.size // len(names) + (place < self.size % len(names))
            rounds = [rng.permutation(members) for _ in range(-(-wanted // len(members)))]
            draws.append(np.concatenate(rounds)[:wanted])
        return rng.permutation(np.concatenate(draws))
