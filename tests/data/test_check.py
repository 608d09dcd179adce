"""The manifest: every fault is found once, named rightly, and stops nothing."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from videos import write_sound, write_video

from nonlocalnet.data.check import check, examine, read_manifest


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


@pytest.fixture(scope="module")
def rotten(tmp_path_factory):
    """Ten good videos and one of each fault; what check should say of each."""
    root = tmp_path_factory.mktemp("rotten")
    want = {}
    for i in range(10):
        want[write_video(root / f"good{i}.mp4", 20 + i).name] = "ok"
    want[write_video(root / "sideways.mp4", 20, turn=True).name] = "ok"
    want[cut(write_video(root / "cut.mp4", 60), 0.6).name] = "truncated"
    want[cut(write_video(root / "cut_index_first.mp4", 60, faststart=True), 0.6).name] = "truncated"
    want[cut(write_video(root / "cut.mkv", 60), 0.6).name] = "truncated"
    want[cut(write_video(root / "cut.avi", 60, codec="mpeg4"), 0.6).name] = "truncated"
    (root / "zero.mp4").touch()
    want["zero.mp4"] = "unreadable"
    (root / "text.mp4").write_text("hello\n" * 99)
    want["text.mp4"] = "unreadable"
    want[write_sound(root / "sound.mp4").name] = "no video stream"
    want[write_video(root / "short.mp4", 3).name] = "too short"
    want["gone.mp4"] = "missing"
    want[write_video(root / "hang.mp4", 20).name] = "unreadable"
    want[write_video(root / "crash.mp4", 20).name] = "unreadable"
    return root, want


def test_every_fault_is_found_and_the_scan_goes_on(rotten, tmp_path):
    root, want = rotten
    manifest = tmp_path / "manifest.csv"
    rows = check(root, want, manifest, reader="hanging_reader", limit_s=8, workers=2)
    assert {row.path: row.state for row in rows} == want
    by = {row.path: row for row in rows}
    assert by["hang.mp4"].reason == "took more than 8 s and was stopped"
    assert "crashed the decoder" in by["crash.mp4"].reason
    assert by["short.mp4"].reason == "3 frames, fewer than 8"
    assert "of 60 frames can be decoded" in by["cut_index_first.mp4"].reason
    sideways = by["sideways.mp4"]
    assert (sideways.height, sideways.width) == (96, 64)
    assert by["good3.mp4"].frames == 23
    assert by["good3.mp4"].duration == pytest.approx(23 / 30, abs=1e-3)
    assert read_manifest(manifest) == rows
    assert not manifest.with_name("manifest.csv.part").exists()


def test_a_second_scan_opens_only_what_changed_or_was_bad(tmp_path):
    names = [write_video(tmp_path / f"{i}.mp4", 10).name for i in range(4)]
    manifest = tmp_path / "manifest.csv"
    first = check(tmp_path, names, manifest)
    write_video(tmp_path / "2.mp4", 12)
    opened = []
    again = check(tmp_path, names, manifest, progress=lambda done, of: opened.append(done))
    assert opened == [3, 4]
    assert [row.frames for row in again] == [10, 10, 12, 10]
    assert again[:2] == first[:2]


def test_rows_of_another_list_stay_while_their_files_do(tmp_path):
    """Two lists of one folder, or of one cache, took each other's rows away."""
    names = [write_video(tmp_path / f"{i}.mp4", 10).name for i in range(4)]
    manifest = tmp_path / "manifest.csv"
    first = check(tmp_path, names[:3], manifest)
    (tmp_path / "0.mp4").unlink()
    assert [row.path for row in check(tmp_path, names[3:], manifest)] == ["3.mp4"]
    assert [row.path for row in read_manifest(manifest)] == ["1.mp4", "2.mp4", "3.mp4"]
    assert read_manifest(manifest)[:2] == first[1:]


def test_names_in_any_encoding_are_rows(tmp_path):
    write_video(tmp_path / "v.mp4", 10).rename(tmp_path / os.fsdecode(b"gr\xfcn.mp4"))
    (name,) = (path.name for path in tmp_path.iterdir())
    manifest = tmp_path / "manifest.csv"
    rows = check(tmp_path, [name], manifest)
    assert rows[0].state == "ok"
    assert read_manifest(manifest) == rows
    assert b"gr\xfcn.mp4,ok" in manifest.read_bytes()


def test_an_interrupted_scan_goes_on(tmp_path):
    names = [write_video(tmp_path / f"{i}.mp4", 10).name for i in range(5)]
    manifest = tmp_path / "manifest.csv"

    def stop_after_two(done, of):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(tmp_path, names, manifest, progress=stop_after_two)
    journal = tmp_path / "manifest.csv.part"
    journal.write_text(journal.read_text() + "half a ro")
    seen = []
    rows = check(tmp_path, names, manifest, progress=lambda done, of: seen.append(done))
    assert seen[0] == 2
    assert [row.path for row in rows] == names


def test_two_scans_of_one_folder_end_alike(tmp_path):
    """One that ended took the other's journal with it."""
    write_video(tmp_path / "a.mp4", [np.zeros((32, 32, 3), np.uint8)] * 9)
    manifest = tmp_path / "manifest.csv"
    rows = check(tmp_path, ["a.mp4"], manifest)
    scan = (
        "from pathlib import Path\nfrom nonlocalnet.data.check import check\n"
        f"for _ in range(400): check(Path({str(tmp_path)!r}), ['a.mp4'], Path({str(manifest)!r}))"
    )
    scans = [subprocess.Popen([sys.executable, "-c", scan]) for _ in range(2)]
    assert [each.wait() for each in scans] == [0, 0]
    assert read_manifest(manifest) == rows
    assert not manifest.with_name("manifest.csv.part").exists()


@pytest.mark.parametrize(
    "left", ["", "pa", "a.mp4,ok,9\n", "\0" * 200_000, "\0\0\0" + "a.mp4,ok,", "\xff"]
)
def test_a_journal_that_two_scans_wrote_over_each_other_is_passed_over(tmp_path, left):
    write_video(tmp_path / "a.mp4", [np.zeros((32, 32, 3), np.uint8)] * 9)
    manifest = tmp_path / "manifest.csv"
    manifest.with_name("manifest.csv.part").write_text(left, encoding="latin-1")
    rows = check(tmp_path, ["a.mp4"], manifest)
    assert [row.state for row in rows] == ["ok"]
    assert read_manifest(manifest) == rows


def test_a_manifest_of_other_columns_is_an_error(tmp_path):
    (tmp_path / "manifest.csv").write_text("path,label\na.mp4,run\n")
    with pytest.raises(ValueError, match=r"manifest.csv:1: not a manifest"):
        read_manifest(tmp_path / "manifest.csv")


def test_a_manifest_of_more_columns_is_read(tmp_path):
    """Older ones say how each picture is turned."""
    (row,) = check(tmp_path, [write_video(tmp_path / "a.mp4", 9).name], tmp_path / "manifest.csv")
    head, line = (tmp_path / "manifest.csv").read_text().splitlines()
    (tmp_path / "old.csv").write_text(f"rotation,{head}\n3,{line}\n")
    assert read_manifest(tmp_path / "old.csv") == [row]


def mutate(content: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    """Bytes flipped, the file cut, a piece left out, or its head swapped with another file's."""
    data = bytearray(content)
    match rng.integers(5):
        case 0:
            for at in rng.integers(0, len(data), int(rng.integers(1, 60))):
                data[at] = int(rng.integers(256))
        case 1:
            del data[int(rng.integers(1, len(data))) :]
        case 2:
            begin, end = sorted(rng.integers(0, len(data), 2))
            del data[begin:end]
        case 3:
            length = int(rng.integers(8, 400))
            data[:length] = other[:length]
        case 4:
            for at in rng.integers(0, min(2000, len(data)), int(rng.integers(1, 20))):
                data[at] = int(rng.integers(256))
    return bytes(data)


def resident() -> int:
    """Pages of memory this process holds (Linux)."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs /proc to measure memory")
    return int(statm.read_text().split()[1])


def mutants(folder, count, seed=0):
    sources = [
        write_video(folder / "source" / name, 30, **options).read_bytes()
        for name, options in {
            "a.mp4": {},
            "b.mkv": {},
            "c.avi": {"codec": "mpeg4"},
            "d.mp4": {"audio": True, "faststart": True},
            "e.ts": {},
        }.items()
    ]
    rng = np.random.default_rng(seed)
    for i in range(count):
        which = int(rng.integers(5))
        suffix = (".mp4", ".mkv", ".avi", ".mp4", ".ts")[which]
        content = mutate(sources[which], rng, sources[(which + 1) % 5])
        (folder / f"m{i:04d}{suffix}").write_bytes(content)
    return [f"{p.name}" for p in sorted(folder.glob("m*"))]


@pytest.mark.parametrize(
    "count", [40, pytest.param(2000, marks=pytest.mark.long)], ids=["few", "many"]
)
def test_mutated_videos_read_or_are_reported(tmp_path, count):
    """`examine` opens and decodes; nothing hangs, crashes, or says nothing."""
    names = mutants(tmp_path, count)
    rows = check(tmp_path, names, tmp_path / "manifest.csv", limit_s=30, workers=2)
    assert [row.path for row in rows] == names
    for row in rows:
        assert row.state == "ok" or row.reason
        assert "crashed" not in row.reason
        assert "stopped" not in row.reason
    with (tmp_path / "manifest.csv").open() as lines:
        states = {row["state"] for row in csv.DictReader(lines)}
    assert {"ok", "truncated", "unreadable"} <= states


@pytest.mark.parametrize(
    "count", [60, pytest.param(2000, marks=pytest.mark.long)], ids=["few", "many"]
)
def test_reading_mutants_does_not_grow_memory(tmp_path, count):
    names = mutants(tmp_path, count, seed=1)
    sizes = []
    for _ in range(3):
        for name in names:
            examine(tmp_path, None, 8, name)
        sizes.append(resident())
    assert sizes[-1] < 1.05 * sizes[0]


def test_a_folder_without_images_and_a_file_that_cannot_be_read_are_rows(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "notes.txt").write_text("no picture")
    names = ["frames", write_video(tmp_path / "good.mp4", 9).name]
    if Path("/proc/self/mem").exists():  # a file that opens, and whose reads fail
        (tmp_path / "sick.mp4").symlink_to("/proc/self/mem")
        names.append("sick.mp4")
    rows = {row.path: row for row in check(tmp_path, names, tmp_path / "manifest.csv")}
    assert rows.pop("good.mp4").state == "ok"
    assert {row.state for row in rows.values()} == {"unreadable"}
    assert "a folder without images" in rows["frames"].reason


def test_a_reader_that_cannot_work_blames_no_file(tmp_path):
    names = [write_video(tmp_path / f"{i}.mp4", 9).name for i in range(2)]
    with pytest.raises(ValueError, match="no reader 'vlc'; choose one of pyav"):
        check(tmp_path, names, tmp_path / "manifest.csv", reader="vlc")
    assert not (tmp_path / "manifest.csv").exists()
