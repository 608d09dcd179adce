"""Processes that read ahead: what they raise comes out as it was, and Ctrl-C is not theirs."""

import signal
from collections.abc import Generator
from contextlib import contextmanager

OURS = ("ValueError", "BadVideo", "MissingLibrary")
"""Exceptions that say one sentence about the data."""


def leave_interrupts(worker: int) -> None:
    """Lets the main process decide what Ctrl-C does; for a DataLoader's `worker_init_fn`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def faults_of_workers() -> Generator[None]:
    """Inside, what a worker says of the data is a ValueError with that sentence.

    torch raises it again with the whole traceback as its text, and as a RuntimeError where the
    exception takes more than a text.

    Raises:
        ValueError: The worker's sentence.

    Example:
        >>> said = ["Caught BadVideo in DataLoader worker process 0.", "BadVideo: a.mp4: gone"]
        >>> with faults_of_workers():
        ...     raise RuntimeError(chr(10).join(said))
        Traceback (most recent call last):
        ValueError: a.mp4: gone
    """
    try:
        yield
    except (ValueError, RuntimeError) as error:
        lines = str(error).strip().splitlines()
        if not lines or "in DataLoader worker process" not in lines[0]:
            raise
        kind, _, sentence = lines[-1].partition(": ")
        if kind.rpartition(".")[2] not in OURS:
            raise
        raise ValueError(sentence) from None
