"""The server of the web demo: a page, uploads as raw bodies, jobs, explorer pages.

A file's name is never sent, and what is sent is trusted in nothing: its kind and size are judged
while it comes in, and it is decoded in a process of its own (`work`). Pages ask this server only.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from nonlocalnet.web.jobs import Job, Jobs
from nonlocalnet.web.limits import HEAD, Limits, is_video

OWN = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
OWN += "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# The explorer brings its own policy; it runs as a page of nobody.
EXPLORER = "sandbox allow-scripts; frame-ancestors 'none'"
PARTS = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
DRAIN_SECONDS = 2.0  # a refused client reads the answer only once it has sent its bytes


class Refused(Exception):
    """An upload that is not taken: status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def make_app(model: str, limits: Limits, hosts: Sequence[str]) -> Starlette:
    """The application.

    Args:
        model: A run folder or a model file.
        limits: See `Limits`.
        hosts: Names by which it may be asked; others are how a strange page would reach it.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory(prefix="nonlocalnet-serve-") as folder:
            app.state.jobs = Jobs(model, Path(folder), limits)
            try:
                yield
            finally:
                app.state.jobs.close()

    routes = [Route(path, _part, methods=["GET"]) for path in PARTS]
    routes += [
        Route("/limits", _limits, methods=["GET"]),
        Route("/jobs", _upload, methods=["POST"]),
        Route("/jobs/{job}", _status, methods=["GET"]),
        Route("/jobs/{job}/explorer", _explorer, methods=["GET"]),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
    )


async def _part(request: Request) -> Response:
    name, kind = PARTS[request.url.path]
    text = (files("nonlocalnet.web") / name).read_text(encoding="utf-8")
    return Response(text, headers=_headers(OWN), media_type=kind)


async def _limits(request: Request) -> Response:
    limits = request.app.state.jobs.limits
    said = {"megabytes": limits.megabytes, "seconds": limits.video_seconds}
    return JSONResponse(said, headers=_headers(OWN))


async def _upload(request: Request) -> Response:
    jobs: Jobs = request.app.state.jobs
    job = None
    try:
        _refuse_strangers(request)
        _refuse_size(int(request.headers.get("content-length", 0)), jobs.limits)
        job = jobs.enter()
        if job is None:
            raise Refused(503, "Too many videos are waiting; try again in a minute.")
        await _receive(request, job, jobs.limits)
    except (Refused, ClientDisconnect) as error:
        if job is not None:
            jobs.forget(job)
        if isinstance(error, ClientDisconnect):
            return Response(status_code=400)
        with suppress(TimeoutError, ClientDisconnect, RuntimeError):
            async with asyncio.timeout(DRAIN_SECONDS):
                async for _ in request.stream():
                    pass
        said = {"fault": error.sentence}
        headers = {**_headers(OWN), "Connection": "close"}
        return JSONResponse(said, error.status, headers=headers)
    jobs.begin(job)
    return JSONResponse({"job": job.id}, 202, headers=_headers(OWN))


async def _receive(request: Request, job: Job, limits: Limits) -> None:
    """Writes the body to the job's file as it comes, as far as it may."""
    size, head, known = 0, b"", False
    try:
        async with asyncio.timeout(limits.upload_seconds):
            with job.upload.open("wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    _refuse_size(size, limits)
                    if not known:
                        head += chunk[:HEAD]
                        known = len(head) >= HEAD
                        if known:
                            _refuse_kind(head)
                    file.write(chunk)
    except TimeoutError:
        raise Refused(408, f"The upload took more than {limits.upload_seconds:g} s.") from None
    except OSError as error:
        print(f"nonlocalnet: an upload cannot be stored: {error}", file=sys.stderr)
        raise Refused(507, "The server has no place for this video now.") from None
    if not known:
        _refuse_kind(head)


def _refuse_strangers(request: Request) -> None:
    """Pages of other sites may send, but not here."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Refused(403, "Only the page of this server may upload to it.")


def _refuse_size(size: int, limits: Limits) -> None:
    if size > limits.megabytes * 1e6:
        raise Refused(413, f"The file is too large; up to {limits.megabytes:g} MB are taken.")


def _refuse_kind(head: bytes) -> None:
    if not is_video(head):
        raise Refused(415, "This is not a video file (MP4, MOV, WebM, MKV, AVI, MPEG, WMV, GIF).")


async def _status(request: Request) -> Response:
    said = request.app.state.jobs.status(request.path_params["job"])
    if said is None:
        fault = "There is no such video here; results are kept for a while only."
        return JSONResponse({"state": "failed", "fault": fault}, 404, headers=_headers(OWN))
    return JSONResponse(said, headers=_headers(OWN))


async def _explorer(request: Request) -> Response:
    job = request.app.state.jobs.jobs.get(request.path_params["job"])
    if job is None or job.result is None or not job.page.exists():
        return Response("There is no such page here (any more).", 404, headers=_headers(OWN))
    return FileResponse(job.page, headers=_headers(EXPLORER), media_type="text/html")


def _headers(policy: str) -> Mapping[str, Any]:
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
