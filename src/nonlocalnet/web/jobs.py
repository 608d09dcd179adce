"""One video at a time: those waiting, the one being looked at, and results for a while."""

import asyncio
import multiprocessing
import secrets
import sys
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nonlocalnet.data.optional import require
from nonlocalnet.data.video import BadVideo
from nonlocalnet.web.limits import Limits
from nonlocalnet.web.work import answer, begin

KEPT = 50  # results, of which each has a page of up to 15 MB


@dataclass
class Job:
    """One upload and what became of it."""

    id: str
    """Cannot be guessed: who has it may see the result."""
    upload: Path
    page: Path
    future: Future | None = None
    """None while it is being uploaded."""
    result: dict[str, Any] | None = None
    fault: str = ""

    @property
    def ended(self) -> bool:
        """Done or failed."""
        return self.result is not None or bool(self.fault)


class Jobs:
    """All jobs of a server, in the order in which they came.

    Args:
        model: A run folder or a model file.
        folder: For uploads and pages; nothing in it is named by a visitor.
        limits: See `Limits`.
    """

    def __init__(self, model: str, folder: Path, limits: Limits) -> None:
        pebble = require("pebble", "the web demo", "serve")
        self.folder, self.limits = folder, limits
        self.expired: type[BaseException] = pebble.ProcessExpired
        self.jobs: dict[str, Job] = {}
        self.tasks: set[asyncio.Task] = set()
        self.pool: Any = pebble.ProcessPool(
            max_workers=1,
            context=multiprocessing.get_context("spawn"),
            initializer=begin,
            initargs=(model, limits),
        )

    def enter(self) -> Job | None:
        """A place for an upload, or None: too many are waiting."""
        if len(self._going()) >= self.limits.queue:
            return None
        name = secrets.token_urlsafe(16)
        job = Job(name, self.folder / f"{name}.upload", self.folder / f"{name}.html")
        self.jobs[name] = job
        return job

    def forget(self, job: Job) -> None:
        """Removes a job and its files."""
        self.jobs.pop(job.id, None)
        job.upload.unlink(missing_ok=True)
        job.page.unlink(missing_ok=True)

    def begin(self, job: Job) -> None:
        """Its upload is whole: it waits for its turn."""
        task = asyncio.get_running_loop().create_task(self._live(job))
        self.tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self.tasks.discard)

    def status(self, name: str) -> dict[str, Any] | None:
        """What a page shows of a job; None: there is none of this name (any more)."""
        job = self.jobs.get(name)
        if job is None:
            return None
        if job.result is not None:
            return {"state": "done", **job.result}
        if job.fault:
            return {"state": "failed", "fault": job.fault}
        if job.future is not None and job.future.running():
            return {"state": "working"}
        return {"state": "waiting", "before": self._going().index(job)}

    def close(self) -> None:
        """Stops the worker, whatever it is doing."""
        for task in self.tasks:
            task.cancel()
        self.pool.stop()
        self.pool.join()

    def _going(self) -> list[Job]:
        return [job for job in self.jobs.values() if not job.ended]

    async def _live(self, job: Job) -> None:
        """The life of a job, from the queue until its result is thrown away."""
        work = (job.upload, job.page, self.limits)
        try:
            future = self.pool.schedule(answer, args=work, timeout=self.limits.work_seconds)
            job.future = future
            job.result = await asyncio.wrap_future(future)
        except Exception as error:
            job.fault = self._sentence(error)
        finally:
            job.upload.unlink(missing_ok=True)
        ended = [other for other in self.jobs.values() if other.ended]
        for old in ended[:-KEPT]:
            self.forget(old)
        await asyncio.sleep(self.limits.keep_seconds)
        self.forget(job)

    def _sentence(self, error: Exception) -> str:
        """A fault in words that name no file of this machine."""
        if isinstance(error, BadVideo):
            return f"This video is refused: {error.reason}."
        if isinstance(error, TimeoutError):
            return f"Looking at it took more than {self.limits.work_seconds:g} s and was stopped."
        if isinstance(error, MemoryError | self.expired):
            return (
                "This video is refused: it needs more memory than is allowed, or broke the decoder."
            )
        if isinstance(error, ValueError):
            return f"The network cannot take this video: {error}."
        print(f"nonlocalnet: a job failed: {type(error).__name__}: {error}", file=sys.stderr)
        return "Something went wrong here; the server's log says what."
