"""A prepared video is its source: same frames under the same numbers, at the same times."""

import numpy as np
import pytest
from videos import number_of, write_video

from nonlocalnet.cli.main import main
from nonlocalnet.data.check import check
from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.prepare import Preparation, prepare, prepared_videos, write_prepared
from nonlocalnet.data.video import open_video, read_frames

CLIPS = {
    "plain.mp4": {},
    "open-gop.mp4": {"options": {"x264-params": "open-gop=1:keyint=12:bframes=3:b-adapt=0"}},
    "variable.mkv": {"pts": [i * i // 4 + 2 * i for i in range(30)]},
    "late.mp4": {"pts": [90 + i for i in range(30)]},
    "turned.mp4": {"turn": True},
    "counted.avi": {"codec": "mpeg4"},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("source")
    for name, options in CLIPS.items():
        write_video(root / name, 30, **options)
    (root / "bad.mp4").write_text("no video\n" * 9)
    return root


@pytest.fixture(scope="module")
def rows(source, tmp_path_factory):
    manifest = tmp_path_factory.mktemp("m") / "manifest.csv"
    return check(source, [*CLIPS, "bad.mp4"], manifest, workers=2)


@pytest.mark.parametrize("form", ["frames", "video"])
def test_frame_k_is_frame_k_of_the_source(source, rows, tmp_path, form):
    how = Preparation(short_side=64, form=form)
    (tmp_path / "manifest.csv").write_bytes(b"")
    assert prepare(source, rows, tmp_path, how) == {}
    for row in rows:
        if row.state != "ok":
            continue
        before, after = open_video(source / row.path), open_video(how.file(tmp_path, row))
        assert after.frames == before.frames == 30
        assert (after.height, after.width) == (before.height, before.width)
        assert after.fps == pytest.approx(before.fps, rel=1e-3)
        np.testing.assert_allclose(after.seconds, before.seconds, atol=1e-3)
        wanted = [29, 0, 13, 13, 7]
        pictures = read_frames(after, wanted)
        if row.path == "turned.mp4":
            pictures = np.rot90(pictures, 1, (1, 2))
        assert [number_of(p) for p in pictures] == wanted
    assert not list(tmp_path.rglob(".*"))  # what `replacing` began


def test_raw_frames_are_the_decoder_s_own_bits(source, rows, tmp_path):
    how = Preparation(short_side=48)
    row = next(row for row in rows if row.path == "plain.mp4")
    write_prepared(source, tmp_path, how, None, row)
    want = read_frames(open_video(source / row.path), range(30), 48)
    got = read_frames(open_video(how.file(tmp_path, row)), range(30), 48)
    np.testing.assert_array_equal(got, want)


def test_what_is_there_is_not_made_again_and_copies_are_kept_once(source, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "in" / name).write_bytes((source / "plain.mp4").read_bytes())
    cache = tmp_path / "cache"
    rows = check(tmp_path / "in", ["a.mp4", "b.mp4"], cache / "manifest.csv")
    prepare(tmp_path / "in", rows, cache, Preparation())
    found = prepared_videos(cache)
    assert set(found) == {"a.mp4", "b.mp4"}
    assert len(set(found.values())) == 1
    stamp = found["a.mp4"].stat().st_mtime_ns
    seen = []
    prepare(tmp_path / "in", rows, cache, Preparation(), progress=lambda *n: seen.append(n))
    assert seen == [(1, 1)]
    assert found["a.mp4"].stat().st_mtime_ns == stamp
    with pytest.raises(ValueError, match=r'this cache holds .*"short_side": 256.* asked for'):
        prepare(tmp_path / "in", rows, cache, Preparation(short_side=128))

    for name in found:
        (tmp_path / "in" / name).unlink()
    assert set(prepare(tmp_path / "in", rows, tmp_path / "other", Preparation())) == set(found)


def test_prepared_videos_are_read_by_the_reader_asked_for(source, tmp_path):
    pytest.importorskip("cv2")
    root, cache = tmp_path / "in", tmp_path / "cache"
    names = [f"{label}/{take}.mp4" for label in "xy" for take in "ab"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((source / "plain.mp4").read_bytes())
    rows = check(root, names, cache / "manifest.csv")
    assert prepare(root, rows, cache, Preparation(form="video")) == {}
    folder = read_folder(root, prepared=cache, reader="opencv")
    assert {sample.video.reader for sample in folder.splits["train"]} == {"opencv"}
    assert not any("decoded" in sentence for sentence in folder.warnings)
    (root / "x/a.mp4").touch()
    (said,) = (s for s in read_folder(root, prepared=cache).warnings if "decoded" in s)
    assert f"1 of 4 videos are not in {cache} or have changed since (first: {root}/x/a.mp4)" in said


def test_a_refused_preparation_leaves_the_cache_as_it_is(source, tmp_path, capsys):
    """The manifest was that of the other folder by then, and the cache's files were lost to it."""
    cache, other = tmp_path / "cache", tmp_path / "other"
    write_video(other / "x.mp4", 10)
    assert main(["prepare", str(source), "--out", str(cache), "--short-side", "64"]) == 0
    before = (cache / "manifest.csv").read_bytes()
    assert main(["prepare", str(other), "--out", str(cache), "--short-side", "32"]) == 2
    assert "this cache holds" in capsys.readouterr().err
    assert (cache / "manifest.csv").read_bytes() == before


def test_a_folder_that_is_no_cache_is_said_so(tmp_path):
    with pytest.raises(ValueError, match=r"no prepared.json in it"):
        prepared_videos(tmp_path)
