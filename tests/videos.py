"""Videos the tests make: each frame carries its own number as black and white squares."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 10


def frame_with_number(number: int, height: int = 64, width: int = 96) -> np.ndarray:
    """uint8 RGB; BITS squares of 16 px along the top rows, then a red corner at the bottom left."""
    picture = np.full((height, width, 3), 110, np.uint8)
    for bit in range(BITS):
        row, column = divmod(bit, width // 16)
        value = 235 if number >> bit & 1 else 20
        picture[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = value
    picture[-16:, :16] = (220, 30, 30)
    return picture


def number_of(picture: np.ndarray, width: int = 96) -> int:
    """The number in a decoded frame of the size it was made in."""
    squares = (divmod(bit, width // 16) for bit in range(BITS))
    middles = [
        picture[16 * r + 4 : 16 * r + 12, 16 * c + 4 : 16 * c + 12].mean() for r, c in squares
    ]
    return sum(1 << bit for bit, value in enumerate(middles) if value > 128)


def write_video(
    path: Path,
    frames: int | list[np.ndarray],
    *,
    codec: str = "libx264",
    fps: int = 30,
    pts: list[int] | None = None,
    options: dict[str, str] | None = None,
    audio: bool = False,
    turn: bool = False,
    faststart: bool = False,
) -> Path:
    """Numbered frames (or those given); `pts` in ticks of 1/fps; `turn` sets a phone's flag.

    `faststart` writes an MP4's index before its content.
    """
    pictures = [frame_with_number(i) for i in range(frames)] if isinstance(frames, int) else frames
    path.parent.mkdir(parents=True, exist_ok=True)
    muxing = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=muxing) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": "18", "g": "12", "bf": "2", **(options or {})}
        else:
            stream.bit_rate = 4_000_000
            stream.options = options or {}
        if audio:
            sound = container.add_stream("aac", rate=16000)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = i if pts is None else pts[i]
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
            silence.sample_rate = 16000
            container.mux(sound.encode(silence))
            container.mux(sound.encode())
    if turn:
        _set_turn(path)
    return path


def write_sound(path: Path) -> Path:
    """A file with an audio stream and no video stream."""
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    return path


def _set_turn(path: Path) -> None:
    """Writes the display matrix of a phone held upright: show the picture turned clockwise."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    one = 0x10000
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 0x40000000)
    path.write_bytes(content)
