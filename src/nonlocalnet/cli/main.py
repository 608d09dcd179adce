"""`nonlocalnet COMMAND ...`: finds the command, turns bad input into one sentence and exit 2.

A command is a module here with `HELP`, `add_arguments(parser)` and `run(options) -> int`. It
imports its engine inside `run`: `--help` must not wait for it.
"""

import difflib
import importlib
import io
import os
import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from types import ModuleType
from typing import Any

# Threads that wait for each other spin by default, and where decoding workers need the same cores
# that made training ten times slower; to sleep at once costs a fifth where they do not. So they
# spin shortly, where the runtime can be told so (docs/LOG.md). Read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

COMMANDS = {
    "demo": "the whole job on data it generates: train, test, predict, draw, one report page",
    "train": "train a classifier on a folder of clips",
    "check": "find broken videos and write a manifest of the good ones",
    "prepare": "resize videos once into a cache that reads quickly",
    "test": "test a trained run with the paper's ten clips",
    "compare": "is one test better than another? differences with paired intervals",
    "predict": "name what happens in one video or in many",
    "timeline": "what happens in a long video, and when (JSON, CSV, subtitles)",
    "features": "a vector for each moment of each video, with its times",
    "serve": "a page on this machine: drop a video, get labels and where the network looked",
    "plot": "draw the errors of runs over their training (Figure 4)",
    "explain": "draw where the network looked (Figure 3)",
    "detect": "COCO boxes, masks and keypoints: detect train, test, predict, generate",
    "models": "the networks: parameters, multiply-adds, sizes, places of the blocks",
    "recipes": "the paper's tables, a recipe for each row; --check rehearses them",
    "reproduce": "run the rows of one of the paper's tables, beside its figures",
    "show-sampling": "which frames and seconds of a video each view takes",
    "convert": "weights of other projects into a model file, and back",
    "export": "write a model as an ONNX file, checked against the network",
    "verify": "run a model file's probe again: does it answer as when it was written?",
    "doctor": "versions, decoders, and a short decode and forward check",
}

YES_OR_NO = ("true", "false", "yes", "no", "null")
"""What may follow a switch; anything else belongs to another option."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; exit codes: 0 done, 2 bad input (one sentence on stderr)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names may be in any encoding
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    name = arguments.pop(0)
    if name == "--version":
        from importlib.metadata import version

        print(f"nonlocalnet {version('nonlocalnet')}")
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else "nonlocalnet --help lists all"
        return _fail(f"no command {name!r}; {hint}")
    try:
        command, options = parse(name, arguments)
        return command.run(options)
    except ValueError as error:
        return _fail(" ".join(str(error).split()))
    except ModuleNotFoundError as error:
        return _fail(_missing(error))
    except KeyboardInterrupt:
        print("interrupted; what was done is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder in the place of a file, no permission
        if error.filename is None:
            raise
        return _fail(f"{error.filename}: cannot be read or written ({error.strerror})")


def parse(name: str, arguments: Sequence[str]) -> tuple[ModuleType, Namespace]:
    """The module of a command, and its options as `run` takes them.

    Raises:
        ValueError: An option that the command does not have, or that cannot be.
    """
    arguments = list(arguments)
    try:
        from jsonargparse import (
            ArgumentError,
            ArgumentParser,
            DefaultHelpFormatter,
            set_parsing_settings,
        )
    except ImportError:
        raise ValueError(
            "the command line needs jsonargparse and rich, which are not installed; "
            "run: pip install 'nonlocalnet[train]'"
        ) from None
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    command = importlib.import_module(f"nonlocalnet.cli.{name.replace('-', '_')}")
    if arguments and arguments[0] in getattr(command, "PARTS", ()):
        name += f" {arguments.pop(0)}"
        command = importlib.import_module(f"nonlocalnet.cli.{name.replace(' ', '_')}")

    class Help(DefaultHelpFormatter):
        """Paragraphs stay apart, and indented ones as they are."""

        def _fill_text(self, text: str, width: int, indent: str) -> str:
            fill = super()._fill_text
            parts = text.split("\n\n")
            return "\n\n".join(p if p[:1] == " " else fill(p, width, indent) for p in parts)

    parser = ArgumentParser(
        prog=f"nonlocalnet {name}",
        description=command.HELP,
        formatter_class=Help,
        exit_on_error=False,
    )
    if name == "train" and (recipe := _value_of("--recipe", arguments)):
        command = importlib.import_module("nonlocalnet.cli.train_recipe")
        command.add_arguments(parser, recipe)  # its options are a full recipe's, not a folder's
    elif name == "detect train":
        command.add_arguments(parser, _value_of("--recipe", arguments))
    else:
        command.add_arguments(parser)
    # Settings are named as in Python and YAML; on a command line a dash is as good.
    arguments = [
        re.sub(r"^--[\w.-]+", lambda flag: "--" + flag[0][2:].replace("-", "_"), argument)
        for argument in arguments
    ]
    # A switch says yes by being there; --flip false says no.
    switches = {o for a in parser._actions if _is_switch(a) for o in a.option_strings}
    following = [*arguments, "--"][1:]
    arguments = [
        f"{argument}=true" if argument in switches and value.lower() not in YES_OR_NO else argument
        for argument, value in zip(arguments, following, strict=True)
    ]
    try:
        options: Namespace = parser.parse_args(arguments)
    except ArgumentError as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{text}; see nonlocalnet {name} --help") from None
    return command, parser.instantiate(options)


def _is_switch(action: Any) -> bool:
    """Whether an option of a dataclass is a bool, or a bool that may be left open."""
    return getattr(action, "_typehint", None) in (bool, bool | None)


def _value_of(flag: str, arguments: Sequence[str]) -> str | None:
    for argument, following in zip(arguments, [*arguments, ""][1:], strict=True):
        if argument == flag or argument.startswith(f"{flag}="):
            return argument.partition("=")[2] or following
    return None


def _missing(error: ModuleNotFoundError) -> str:
    """Which extra brings the library that is not there; what is of no extra is a fault of ours."""
    from nonlocalnet.cli.doctor import PARTS

    library = (error.name or "").partition(".")[0]
    if library not in PARTS:
        raise error
    purpose, package = PARTS[library]
    return f"{purpose} needs {library}, which is not installed; run: pip install '{package}'"


def _fail(sentence: str) -> int:
    print(f"nonlocalnet: {sentence}", file=sys.stderr)
    return 2


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: nonlocalnet COMMAND ...      (nonlocalnet COMMAND --help tells more)",
            "",
            "Non-local Neural Networks: what happens in a video, and where the network looked.",
            "",
            *lines,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
