"""`nonlocalnet serve`: the web demo on this machine."""

import json
import socket

HELP = """Serve a page on this machine: drop a video, get its labels, a timeline and the explorer.

One video is looked at at a time, the others wait; uploads are removed as soon as they are done.
By default only this machine can ask; --host 0.0.0.0 opens it to the network, to anyone.

Example: nonlocalnet serve --model runs/mine"""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser) -> None:
    """Options of the command."""
    from nonlocalnet.web.limits import Limits

    parser.add_argument("--model", type=str, required=True, help="a run folder or a model file")
    parser.add_argument("--host", type=str, default="127.0.0.1", help="who may ask; this machine")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
    parser.add_class_arguments(Limits, "limits")
    parser.add_argument("--json", action="store_true", help="print the address as JSON")


def run(options) -> int:
    """Serves until it is interrupted."""
    from nonlocalnet.data.optional import require
    from nonlocalnet.data.video import require_reader
    from nonlocalnet.engine.classifier import load

    uvicorn = require("uvicorn", "the web demo", "serve")
    require("starlette", "the web demo", "serve")
    from nonlocalnet.web.app import make_app

    require_reader("pyav")
    load(options.model)  # what is wrong with it is said here, not to the first visitor
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        listening = socket.create_server((options.host, options.port), family=family)
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"cannot listen on {options.host} port {options.port} ({error}); "
            "choose another --port, or 0 for any that is free"
        ) from None
    # Of [::1]:8000 the check of names sees "[::1]", or in older versions what is before a colon.
    hosts = (*LOOPBACK, "[::1]", "[") if options.host in LOOPBACK else ("*",)
    name = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{name}:{listening.getsockname()[1]}"
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(options.model, options.limits, hosts),
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            limit_concurrency=100,
            timeout_graceful_shutdown=2,
        )
    )
    said = json.dumps({"address": address}) if options.json else f"open {address} (Ctrl-C ends it)"
    print(said, flush=True)
    server.run(sockets=[listening])
    return 0
