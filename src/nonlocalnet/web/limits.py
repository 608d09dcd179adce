"""What the web demo takes, and what it refuses before any of it is decoded."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a visitor may ask for."""

    megabytes: float = 200.0
    """Of an upload."""
    upload_seconds: float = 300.0
    """An upload may take so long."""
    video_seconds: float = 120.0
    """Of the video."""
    frames: int = 20_000
    """Of the video."""
    pixels: int = 4096 * 2304
    """Of a frame."""
    work_seconds: float = 600.0
    """To look at one video; then the worker is stopped."""
    memory: float = 4.0
    """GiB that the worker may take beyond what the network needs to stand there."""
    queue: int = 8
    """Videos being uploaded, waiting and looked at."""
    keep_seconds: float = 3600.0
    """A result stays so long."""

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not value > 0:
                raise ValueError(f"limits.{limit.name}={value:g} must be above 0")


HEAD = 256  # bytes that `is_video` wants to see
_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}  # MP4, QuickTime, 3GP
_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
    b"\x00\x00\x01\xba",  # MPEG programme stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"OggS",
    b"GIF8",
)


def is_video(head: bytes) -> bool:
    """Whether a file that begins so is of a kind that holds pictures and nothing but itself.

    Play lists, which send FFmpeg to other files and other machines, are not.

    Example:
        >>> is_video(b"....ftypisom"), is_video(b"#EXTM3U"), is_video(b"MZ")
        (True, False, False)
    """
    if head[4:8] in _BOXES or head.startswith(_STARTS):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    # Transport streams: packets of 188 bytes that begin with G, a time stamp before each or not.
    return any(
        head[at : at + 1] == head[at + size : at + size + 1] == b"G"
        for at, size in ((0, 188), (4, 192))
    )
