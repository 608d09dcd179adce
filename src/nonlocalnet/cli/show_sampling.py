"""`nonlocalnet show-sampling`: which frames and seconds of a video each view takes."""

import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Literal

HELP = """Print and draw which frames of a video the clips of a test take, and which crops.

A clip is given by --frames and --stride, or by --seconds and --fps (frames that the network sees
per second); the second kind means the same moments in videos of any frame rate.

Example: nonlocalnet show-sampling clip.mp4 --frames 32 --stride 2 --views 10x3 -o sampling.png"""
WIDTH = 80


def add_arguments(parser) -> None:
    """Options of the command."""
    parser.add_argument("file", type=str, help="a video")
    parser.add_argument("--frames", type=int, help="frames the network sees; default 32")
    parser.add_argument("--stride", type=int, help="source frames per kept frame; default 2")
    parser.add_argument("--seconds", type=float, help="length of a clip; with --fps")
    parser.add_argument("--fps", type=float, help="kept frames per second; with --seconds")
    parser.add_argument("--views", type=str, default="10x1", help="CLIPSxCROPS, see test")
    parser.add_argument("--short_side", type=int, default=256, help="px, the shorter side in tests")
    parser.add_argument(
        "--short", type=Literal["loop", "clamp"], default="loop", help="end of a short video"
    )
    parser.add_argument(
        "--starts", type=Literal["even", "released"], default="even", help="where clips start"
    )
    parser.add_argument("-o", "--out", type=str, help="draw it, for example to sampling.png")
    parser.add_argument("--json", action="store_true", help="print every frame number as JSON")


def run(options) -> int:
    """Prints the table (or JSON) and writes the picture."""
    from nonlocalnet.data.clips import even_numbers, three_squares
    from nonlocalnet.data.video import open_video, read_frames, scaled_size
    from nonlocalnet.engine.protocol import Protocol

    config = _config(options)
    protocol = Protocol.parse(options.views)
    if protocol.jitter:
        raise ValueError(
            f"--views {protocol} is another random clip for every video and seed; give CLIPSxCROPS"
        )
    video = open_video(options.file)
    numbers = even_numbers(video, config, protocol.clips)
    stamps = video.seconds
    seconds = stamps[numbers]
    size = scaled_size(video.height, video.width, config.test_short_side)
    squares = three_squares(*size) if protocol.crops == 3 else ()
    end = float(stamps[-1]) + 1 / video.fps
    if options.out:
        from nonlocalnet.viz.sampling import draw_sampling

        middle = read_frames(video, [video.frames // 2], config.test_short_side)[0]
        title = f"{Path(options.file).name}: {_clip_words(config)}"
        draw_sampling(stamps, end, seconds, middle, squares, options.out, title=title)
    if options.json:
        report = {
            "path": options.file,
            "video": {"frames": video.frames, "seconds": round(end, 3), "fps": round(video.fps, 3)},
            "clip": asdict(config),
            "views": str(protocol),
            "crops": [{"top": t, "left": x, "side": side} for t, x, side in squares],
            "clips": [
                {"frames": row.tolist(), "seconds": times.round(3).tolist()}
                for row, times in zip(numbers, seconds, strict=True)
            ],
        }
        print(json.dumps(report))
        return 0
    lines = [
        f"{Path(options.file).name}: {video.frames} frames in {end:.2f} s "
        f"({video.fps:.2f} per second), {video.width}x{video.height} px",
        f"each clip: {_clip_words(config)}",
        f"starts: {config.start_rule}",
        f"each frame: {_frame_words(size, squares)}",
    ]
    for line in lines:
        print(textwrap.fill(line, WIDTH, subsequent_indent="    "))
    print("\nclip         seconds  frames")
    for row, times in zip(range(1, len(numbers) + 1), seconds, strict=True):
        looped = (times[1:] < times[:-1]).any()
        span = f"{times[0]:.2f}, looped" if looped else f"{times[0]:.2f} to {times[-1]:.2f}"
        runs = runs_of(numbers[row - 1].tolist())
        print(
            textwrap.fill(
                f"{row:4} {span:>15}  {runs}",
                WIDTH,
                subsequent_indent=" " * 22,
                break_on_hyphens=False,
            )
        )
    if options.out:
        print(f"\ndrawn to {options.out}")
    return 0


def runs_of(numbers: list[int]) -> str:
    """Frame numbers, with runs of three or more at one step written short.

    Example:
        >>> runs_of([0, 2, 4, 6, 8]), runs_of([3, 5, 7, 0, 2, 4]), runs_of([1, 2, 4, 4, 4, 9])
        ('0-8 by 2', '3-7 by 2, 0-4 by 2', '1, 2, 4 (3 times), 9')
    """
    parts, i = [], 0
    while i < len(numbers):
        step = numbers[i + 1] - numbers[i] if i + 1 < len(numbers) else -1
        j = i
        while j + 1 < len(numbers) and numbers[j + 1] - numbers[j] == step >= 0:
            j += 1
        if j - i < 2:
            parts.append(f"{numbers[i]}")
            i += 1
            continue
        run = f"{numbers[i]}-{numbers[j]}" + (f" by {step}" if step > 1 else "")
        parts.append(run if step else f"{numbers[i]} ({j - i + 1} times)")
        i = j + 1
    return ", ".join(parts)


def _config(options):
    from nonlocalnet.data.clips import ClipConfig, by_time

    if (options.seconds is None) != (options.fps is None):
        raise ValueError("--seconds and --fps go together; give both, or --frames and --stride")
    counted = {"frames": options.frames, "stride": options.stride}
    counted = {name: value for name, value in counted.items() if value is not None}
    if options.seconds is not None and counted:
        raise ValueError("a clip is given by --seconds and --fps or by --frames and --stride")
    times = counted if options.seconds is None else by_time(options.seconds, options.fps)
    return ClipConfig(
        **times,
        test_short_side=options.short_side,
        short=options.short,
        starts=options.starts,
    )


def _clip_words(config) -> str:
    span = config.frames * config.stride
    kept = "all" if config.stride == 1 else f"1 in {config.stride}"
    rate = f" at {config.fps:g} fps, {span / config.fps:.2f} s" if config.fps else ""
    return f"{config.frames} frames, {kept} of {span} consecutive{rate}"


def _frame_words(size: tuple[int, int], squares) -> str:
    height, width = size
    if not squares:
        return f"whole, {width}x{height} px"
    side, across = squares[0][2], any(left for _, left, _ in squares)
    places = ", ".join(str(left if across else top) for top, left, _ in squares)
    return f"{side}x{side} px of {width}x{height}, at {'x' if across else 'y'} = {places}"
