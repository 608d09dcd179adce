"""Every way of reading gives the same frames: numbers exactly, pixels nearly."""

import importlib
import shutil

import av
import numpy as np
import pytest
from videos import frame_with_number, number_of, write_sound, write_video

from nonlocalnet.data.check import examine
from nonlocalnet.data.optional import MissingLibrary
from nonlocalnet.data.video import READERS, BadVideo, open_video, read_frames

FILE_READERS = ("pyav", "torchcodec", "opencv")


def installed(name):
    try:
        importlib.import_module(READERS[name]).library()
    except MissingLibrary as error:
        return pytest.param(name, marks=pytest.mark.skip(reason=str(error)))
    return name


PEERS = [installed(name) for name in FILE_READERS if name != "pyav"]

CLIPS = {
    "b-frames": {},
    "open-gop": {"options": {"x264-params": "open-gop=1:keyint=12:bframes=3:b-adapt=0"}},
    "variable-rate": {"pts": [i * i // 4 + 2 * i for i in range(40)]},
    "late-first-stamp": {"pts": [90 + i for i in range(40)]},
    "turned": {"turn": True},
    "with-sound": {"audio": True},
    "avi": {"codec": "mpeg4", "suffix": ".avi"},
    "mkv": {"suffix": ".mkv"},
    "one-frame": {"frames": 1},
}


def psnr(a, b):
    return 10 * np.log10(255**2 / max((a.astype(float) - b).__pow__(2).mean(), 1e-9))


def smooth(number, height=64, width=96):
    """A picture without hard edges, where resizers and chroma upsamplers agree."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin((x + 3 * number) / 17 + k) * np.cos(y / 13 + k) for k in range(3)]
    return np.stack(waves, -1).astype(np.uint8)


@pytest.mark.parametrize("kind", CLIPS)
@pytest.mark.parametrize("reader", PEERS)
def test_the_same_frames_as_the_default_reader(tmp_path, reader, kind):
    options = dict(CLIPS[kind])
    path = tmp_path / f"v{options.pop('suffix', '.mp4')}"
    count = options.pop("frames", 40)
    turned = options.get("turn", False)
    write_video(path, count, **options)
    ours, theirs = open_video(path, "pyav"), open_video(path, reader)
    assert theirs.frames == ours.frames == count
    assert (theirs.height, theirs.width) == (ours.height, ours.width)
    wanted = [17, 3, 3, 39, 12] if count > 1 else [0, 0]
    pictures = read_frames(theirs, wanted)
    if turned:
        pictures = np.rot90(pictures, 1, (1, 2))
    assert [number_of(p) for p in pictures] == wanted
    np.testing.assert_allclose(theirs.seconds, ours.seconds, atol=2e-3)


@pytest.mark.parametrize("reader", PEERS)
def test_a_phone_clip_may_be_checked_by_one_reader_and_read_by_another(tmp_path, reader):
    path = write_video(tmp_path / "v.mp4", 9, turn=True)
    ours = examine(tmp_path, reader, 8, path.name).video(tmp_path, "pyav")
    np.testing.assert_array_equal(
        read_frames(ours, [2, 7], 32), read_frames(open_video(path, "pyav"), [2, 7], 32)
    )


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
@pytest.mark.parametrize("short_side", [None, 32])
def test_a_transport_stream_is_read_from_its_start(tmp_path, codec, short_side):
    """A seek there lands anywhere, even one to the first frame."""
    video = open_video(write_video(tmp_path / "v.ts", 40, codec=codec), "pyav")
    for wanted in (list(range(40)), [39, 0, 7, 20], [5], [38]):
        pictures = read_frames(video, wanted)
        assert [number_of(p) for p in pictures] == wanted
        small = read_frames(video, wanted, short_side)
        alone = np.stack([read_frames(video, [i], short_side)[0] for i in wanted])
        np.testing.assert_array_equal(small, alone)


FORMATS = {
    "vp9.webm": "libvpx-vp9",
    "mpeg.mpg": "mpeg1video",
    "flash.flv": "libx264",
    "windows.wmv": "wmv2",
    "old.avi": "msmpeg4v2",
    "stream.ts": "libx264",
    "mpeg4.mov": "mpeg4",
}


@pytest.mark.parametrize("reader", ["pyav", *PEERS])
@pytest.mark.parametrize("name", FORMATS)
def test_check_calls_whole_files_of_every_suffix_ok(tmp_path, reader, name):
    """Or leaves them to the default reader, in words; none is called truncated."""
    path = write_video(tmp_path / name, 40, codec=FORMATS[name], fps=25)
    row = examine(tmp_path, reader, 8, name)
    if reader == "torchcodec" and row.state != "ok":
        assert "39 of 40" in row.reason or "use the reader pyav" in row.reason
        return
    assert (row.state, row.frames) == ("ok", 40)
    numbers = [number_of(p) for p in read_frames(open_video(path, reader), [39, 0, 21])]
    assert numbers == [39, 0, 21]


def with_filler(source, path):
    """The AVI file as XviD writes it: the second packet is one byte that shows nothing."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        filler = av.Packet(b"\x7f")
        filler.time_base = packets[0].time_base
        for number, packet in enumerate([packets[0], filler, *packets[1:]]):
            packet.stream, packet.pts, packet.dts = stream, number, number
            new.mux(packet)
    return path


def test_the_filler_of_xvid_is_no_frame(tmp_path):
    """HMDB51 is made of such files; the header counts one frame more than there are."""
    source = write_video(tmp_path / "plain.avi", 20, codec="mpeg4")
    video = open_video(with_filler(source, tmp_path / "xvid.avi"), "pyav")
    assert (video.frames, video.expected) == (20, 20)
    assert [number_of(p) for p in read_frames(video, [19, 0, 1, 2])] == [19, 0, 1, 2]
    assert len(video.seconds) == 20


@pytest.mark.parametrize("reader", ["pyav", *PEERS])
def test_time_stamps_of_a_file_that_went_bad_are_a_fault_in_words(tmp_path, reader):
    path = write_video(tmp_path / "v.mkv", 40)
    video = open_video(path, reader)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(BadVideo, match=str(path)):
        print(video.seconds)


@pytest.mark.parametrize("short_side", [None, 32, 80])
@pytest.mark.parametrize("size", [(64, 96), (50, 70)], ids=["even", "odd-half"])
@pytest.mark.parametrize("reader", PEERS)
def test_nearly_the_same_pixels_as_the_default_reader(tmp_path, reader, size, short_side):
    path = write_video(tmp_path / "v.mp4", [smooth(i, *size) for i in range(20)])
    ours = read_frames(open_video(path, "pyav"), [2, 11], short_side)
    theirs = read_frames(open_video(path, reader), [2, 11], short_side)
    assert ours.shape == theirs.shape
    assert psnr(ours, theirs) > 35


@pytest.mark.parametrize("reader", ["pyav", *PEERS])
@pytest.mark.parametrize("content", [b"hello\n" * 99, b""], ids=["text", "empty"])
def test_no_reader_takes_what_is_no_video(tmp_path, reader, content):
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(BadVideo, match=str(path)):
        open_video(path, reader)


def test_images_in_a_folder_are_a_video_in_the_order_of_their_numbers(tmp_path):
    from PIL import Image

    for i in range(12):  # unpadded: 10 sorts after 9
        Image.fromarray(frame_with_number(i)).save(tmp_path / f"frame{i}.png")
    video = open_video(tmp_path, fps=24)
    assert (video.frames, video.fps, video.height, video.width) == (12, 24, 64, 96)
    assert [number_of(f) for f in read_frames(video, [11, 0, 9, 10])] == [11, 0, 9, 10]
    assert read_frames(video, [3], 32).shape == (1, 32, 48, 3)
    (tmp_path / "frame4.png").write_bytes(b"damaged")
    assert [number_of(f) for f in read_frames(video, [3, 4, 5])] == [3, 3, 5]


def test_a_folder_of_images_that_went_away_is_a_fault_in_words(tmp_path):
    from PIL import Image

    (tmp_path / "v").mkdir()
    Image.fromarray(frame_with_number(5)).save(tmp_path / "v" / "1²2.png")
    video = open_video(tmp_path / "v")
    assert number_of(read_frames(video, [0])[0]) == 5
    write_sound(tmp_path / "sound.mp4").replace(tmp_path / "v" / "1²2.png")
    with pytest.raises(BadVideo, match=r"1²2\.png: not an image"):
        open_video(tmp_path / "v")
    shutil.rmtree(tmp_path / "v")
    with pytest.raises(BadVideo, match=r"v: the folder cannot be listed \(No such file"):
        read_frames(video, [0])


def test_an_array_is_a_video(tmp_path):
    frames = np.stack([frame_with_number(i) for i in range(9)])
    np.save(tmp_path / "v.npy", frames)
    for video in (open_video(frames, fps=10), open_video(tmp_path / "v.npy", fps=10)):
        np.testing.assert_array_equal(read_frames(video, [4, 2]), frames[[4, 2]])
        np.testing.assert_allclose(video.seconds, np.arange(9) / 10)
    with pytest.raises(BadVideo, match=r"must be an array .* got \(3, 4\) of float64"):
        open_video(np.zeros((3, 4)))


def test_an_array_resizes_as_the_decoder_does(tmp_path):
    pictures = [smooth(i) for i in range(4)]
    array = open_video(np.stack(pictures))
    for short_side in (32, 80):
        theirs = read_frames(array, [1, 3], short_side)
        ours = read_frames(
            open_video(write_video(tmp_path / "v.mp4", pictures)), [1, 3], short_side
        )
        assert psnr(ours, theirs) > 35


def test_an_unknown_reader_is_an_error_that_lists_them(tmp_path):
    path = write_video(tmp_path / "v.mp4", 2)
    with pytest.raises(ValueError, match="no reader 'decord'; choose one of pyav, torchcodec"):
        open_video(path, "decord")


def test_a_video_is_not_blamed_for_missing_libraries(tmp_path, monkeypatch):
    """Torchcodec 0.17 is imported without FFmpeg, and fails at the first video."""
    torchcodec = pytest.importorskip("torchcodec")
    monkeypatch.setattr(torchcodec, "ffmpeg_major_version", None)
    with pytest.raises(MissingLibrary, match="finds no FFmpeg libraries on this system; install"):
        open_video(write_video(tmp_path / "v.mp4", 2), "torchcodec")


def test_a_reader_may_be_a_module_of_the_user(tmp_path):
    path = write_video(tmp_path / "v.mp4", 2)
    video = open_video(path, "nonlocalnet.data.readers.pyav")
    assert video.frames == 2


def test_bad_video_travels_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(BadVideo("a.mp4", "is bad", "truncated")))
    assert (str(error), error.state) == ("a.mp4: is bad", "truncated")
