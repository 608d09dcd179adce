"""One set of videos through every description that people have of it: the same samples."""

import csv
import json
import shutil

import pytest
from videos import write_video

from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.listed import Listed
from nonlocalnet.data.listing import list_videos
from nonlocalnet.data.lists import read_list

LABELS = ["riding a bike", "sit"]
# (split, class number, YouTube id, start, end); one file keeps its id only, as older copies do.
VIDEOS = [
    ("train", 0, "-3B32lodo2M", 59, 69),
    ("train", 0, "a_0", 5, 15),
    ("train", 1, "b b", 7, None),
    ("val", 0, "c", 0, 10),
    ("val", 1, "d", 1234, 1244),
]


def stem(name, start, end):
    return name if end is None else f"{name}_{start:06d}_{end:06d}"


PATHS = [(s, f"{s}/{LABELS[k]}/{stem(n, a, b)}.mp4", k) for s, k, n, a, b in VIDEOS]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The videos, in folders per split and class; contents differ."""
    root = tmp_path_factory.mktemp("tree")
    for frames, (_, path, _) in enumerate(PATHS, 3):
        write_video(root / path, frames)
    return root


def write(file, lines, end="\n", start=""):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes((start + end.join(lines) + end).encode("utf-8"))


def of(split):
    return [(path, k) for s, path, k in PATHS if s == split]


def as_folders(tree, out):
    return tree


def as_csv(tree, out):
    rows = [f"{p},{LABELS[k]},{s}" for s, p, k in PATHS]
    write(out / "mine.csv", ["path,label,split", *rows])
    return out / "mine.csv"


def as_spreadsheet_csv(tree, out):
    """Semicolons, quotes, byte order mark, carriage returns, blank lines, other columns."""
    rows = [f'"{p}";;"{LABELS[k]}";{s.upper()}\r\n' for s, p, k in PATHS]
    write(out / "mine.csv", ["Path;Remark;Label;Split", *rows, ";;;"], end="\r\n", start="\ufeff")
    return out / "mine.csv"


def as_path_label_names(tree, out):
    write(out / "trainlist.txt", [f"{p} {LABELS[k]}" for p, k in of("train")])
    write(out / "vallist.txt", [f'  "{p}"\t"{LABELS[k]}"\n' for p, k in of("val")])
    return out


def as_pyslowfast(tree, out):
    write(out / "train.csv", [f"{p} {k}" for p, k in of("train")])
    write(out / "val.csv", [f"{tree / p} {k}" for p, k in of("val")])
    write(out / "classes.txt", LABELS)
    return out


def as_path_comma_number(tree, out):
    write(out / "train.csv", [f"{p},{k}" for p, k in of("train")])
    write(out / "val.csv", [f"{p},{k}" for p, k in of("val")])
    ids = {f'"{name}"' if " " in name else name: k for k, name in enumerate(LABELS)}
    write(out / "classids.json", [json.dumps(ids)])
    return out / "train.csv"


def as_mmaction2(tree, out):
    for s in ("train", "val"):
        lines = [f"{p.removeprefix(s + '/')} {k}" for p, k in of(s)]
        write(out / f"kinetics400_{s}_list_videos.txt", lines)
    write(out / "label_map_k400.txt", LABELS)
    return out / "kinetics400_val_list_videos.txt"


def as_kinetics(tree, out):
    header = "label,youtube_id,time_start,time_end,split,is_cc"
    for name, split, said in (("train", "train", "train"), ("validate", "val", "validate")):
        rows = [
            f'"{LABELS[k]}",{n},{a},{a + 10 if b is None else b},{said},0'
            for s, k, n, a, b in VIDEOS
            if s == split
        ]
        write(out / "annotations" / f"{name}.csv", [header, *rows])
    write(out / "annotations" / "test.csv", [header.removeprefix("label,"), "e,0,10,test,0"])
    return out


DESCRIPTIONS = {
    f.__name__[3:]: f
    for f in (
        as_folders,
        as_csv,
        as_spreadsheet_csv,
        as_path_label_names,
        as_pyslowfast,
        as_path_comma_number,
        as_mmaction2,
        as_kinetics,
    )
}


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_every_description_gives_the_same_samples(tree, tmp_path, kind):
    folder = read_folder(DESCRIPTIONS[kind](tree, tmp_path), videos=tree)
    assert folder.labels == LABELS
    assert not folder.bad and not any(folder.missing.values())
    for split in ("train", "val"):
        found = [(s.video.path, s.label, s.video.frames) for s in folder.splits[split]]
        want = [(tree / p, k, 3 + i) for i, (s, p, k) in enumerate(PATHS) if s == split]
        assert found == want
    assert folder.splits["test"] == folder.splits["val"]


def test_listing_opens_nothing(tmp_path):
    write(tmp_path / "list.txt", ["a.mp4 run", "b.mp4 sit", "c.mp4 run", "d.mp4 sit"])
    for name in "abcd":
        (tmp_path / f"{name}.mp4").write_text("no video")
    assert len(list_videos(tmp_path / "list.txt").rows) == 4
    with pytest.raises(ValueError, match="no readable video in the train split; 4 were unreadable"):
        read_folder(tmp_path / "list.txt")


def test_kinetics_says_what_this_copy_lacks(tree, tmp_path):
    source = as_kinetics(tree, tmp_path)
    with (source / "annotations" / "train.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"sit,x{number},3,13,train,1\n" for number in range(37))
    listing = list_videos(source, videos=tree)
    assert listing.split_by == "the lists train.csv, validate.csv, test.csv"
    assert listing.notes == [
        f"kinetics: 37 of 40 listed videos are missing under {tree}, "
        "first: sit/x0_000003_000013.mp4",
        f"{source}/annotations/test.csv:1: the header has no column label (the official test list "
        "has none), so its videos are left out; give a list with labels",
    ]
    assert len(listing.rows) == 5
    folder = read_folder(source, videos=tree)
    assert [len(folder.missing[s]) for s in ("train", "val", "test")] == [37, 0, 0]
    assert folder.missing["train"][0].label == "sit"


def test_of_files_of_one_name_that_of_the_class_is_taken(tree, tmp_path):
    root = tmp_path / "k"
    for k, label in enumerate(LABELS):
        for number in range(2):
            name = f"{label.replace(' ', '_')}/{number}{k}.mp4"
            (root / "other" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tree / PATHS[0][1], root / "other" / name)
    shutil.copytree(root / "other" / "sit", root / "another" / "unsorted")
    (root / "round").symlink_to(root)
    rows = [f"{LABELS[k]},{n}{k},0,10,train" for k in range(2) for n in range(2)]
    write(tmp_path / "train.csv", ["label,youtube_id,time_start,time_end,split", *rows])
    found = [row.path.parent.name for row in list_videos(tmp_path / "train.csv", videos=root).rows]
    assert found == ["riding_a_bike"] * 2 + ["sit"] * 2


def test_raw_frames_are_folders(tmp_path):
    write(
        tmp_path / "ucf101_train_split_1_rawframes.txt", ["run/a b 120 0", "sit/c 7 1", "sit/d 9 1"]
    )
    for name in ("run/a b", "sit/c"):
        (tmp_path / "rawframes_train" / name).mkdir(parents=True)
    listing = list_videos(tmp_path)
    assert [(r.path, r.label, r.split) for r in listing.rows] == [
        (tmp_path / "rawframes_train" / "run/a b", "0", "train"),
        (tmp_path / "rawframes_train" / "sit/c", "1", "train"),
    ]
    assert [r.path.name for r in listing.missing] == ["d"]


def test_a_list_of_frames_and_label_after_a_video_counts_as_such(tmp_path):
    """gluon-cv writes `path frames label`, also for videos."""
    write(tmp_path / "list.txt", ["a.mp4 250 1", "b.mp4 250 0", "c.mp4 2 1", "d.mp4 2 0"])
    for name in "abcd":
        (tmp_path / f"{name}.mp4").touch()
    assert [row.label for row in list_videos(tmp_path / "list.txt").rows] == ["1", "0", "1", "0"]


@pytest.mark.parametrize(
    ("line", "path", "label"),
    [
        ("a b c.mp4 3", "a b c.mp4", "3"),
        ("a.mp4 copy.mp4 3", "a.mp4 copy.mp4", "3"),
        ("clips/x.MOV playing the violin", "clips/x.MOV", "playing the violin"),
        ('"a ""b"" c.mp4" x', 'a "b" c.mp4', "x"),
        ("Hello, world.mp4 2", "Hello, world.mp4", "2"),
        ("x.avi\t4", "x.avi", "4"),
    ],
)
def test_paths_and_labels_may_hold_spaces(tmp_path, line, path, label):
    write(tmp_path / "list.txt", [line])
    (first,) = read_list(tmp_path / "list.txt", tmp_path).rows
    assert first == Listed(path=tmp_path / path, label=label, where=f"{tmp_path}/list.txt:1")


def test_a_list_whose_name_tells_nothing_is_split_by_source(tree, tmp_path):
    rows = [f"{c}/{who}_{take}.mp4 {c}" for c in "xy" for who in "abcd" for take in (1, 2)]
    write(tmp_path / "all.txt", rows)
    for row in rows:
        path = tmp_path / row.split()[0]
        path.parent.mkdir(exist_ok=True)
        path.touch()
    listing = list_videos(tmp_path / "all.txt")
    assert listing.split_by == "sources of all.txt"
    for label in "xy":
        sides = [
            {row.path.stem[0] for row in listing.rows if (row.label, row.split) == (label, split)}
            for split in ("train", "test")
        ]
        assert [len(side) for side in sides] == [3, 1] and not sides[0] & sides[1]


def test_class_numbers_without_names_are_counted_anew_and_said(tmp_path):
    write(tmp_path / "list.txt", [f"{n}.mp4 {k}" for n, k in enumerate((10, 2, 2, 10, 0, 0))])
    for n in range(6):
        (tmp_path / f"{n}.mp4").touch()
    listing = list_videos(tmp_path / "list.txt")
    assert listing.labels == ["0", "2", "10"]
    assert listing.notes[0].startswith("class numbers run from 0 to 10 without 1, so the 3 that")


def test_a_trained_network_says_what_the_classes_are(tree, tmp_path):
    write(tmp_path / "val.txt", [f"{tree / path} 1" for path, k in of("val") if k == 1])
    known = ["Riding_a_bike", "sit", "swim"]
    listing = list_videos(tmp_path / "val.txt", labels=known)
    assert listing.labels == known and [row.label for row in listing.rows] == ["sit"]
    assert {row.label for row in list_videos(tree, labels=known).rows} == set(known[:2])
    with pytest.raises(ValueError, match="label 'sit' is none of the 2 classes of the network"):
        list_videos(tree, labels=["riding a bike", "sits"])
    folder = read_folder(tmp_path / "val.txt", labels=known, needs=("test",))
    assert [sample.label for sample in folder.splits["test"]] == [1]


@pytest.mark.parametrize(("asked", "broken", "count"), [("test", "train", 2), ("train", "val", 3)])
def test_only_the_splits_asked_for_are_opened(tree, tmp_path, asked, broken, count):
    root = tmp_path / "copy"
    shutil.copytree(tree, root)
    for path, _ in of(broken):
        (root / path).write_text("no video")
    folder = read_folder(root, needs=(asked,))
    assert not folder.bad and len(folder.splits[asked]) == count


def test_a_class_called_train_is_a_class(tmp_path):
    for name in ("train", "plane"):
        (tmp_path / name).mkdir()
        for i in range(4):
            (tmp_path / name / f"{i}.mp4").touch()
    assert list_videos(tmp_path).labels == ["plane", "train"]


def touch(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_a_class_called_train_that_has_folders_is_asked_about(tmp_path):
    touch(tmp_path, [f"{c}/g0{g}/1.mp4" for c in ("bus", "car", "train") for g in (1, 2)])
    with pytest.raises(ValueError, match="train may be a split or a class, as bus beside it"):
        list_videos(tmp_path)


def test_folders_of_one_split_are_all_of_it(tmp_path):
    folders = ("train", "videos_train", "val", "validation", "test")
    touch(tmp_path, [f"{folder}/{c}/{folder}.mp4" for folder in folders for c in "ab"])
    rows = list_videos(tmp_path).rows
    found = [{r.path.stem for r in rows if r.split == s} for s in ("train", "val", "test")]
    assert found == [{"train", "videos_train"}, {"val", "validation"}, {"test"}]
    for folder in folders[2:]:
        shutil.rmtree(tmp_path / folder)
    assert len(list_videos(tmp_path).rows) == 4


def test_lines_that_repeat_a_video_count_once(tmp_path):
    write(tmp_path / "list.txt", ["a.mp4 0", "b.mp4 1", "a.mp4 0", "c.mp4 0", "d.mp4 1", "b.mp4 1"])
    for name in "abcd":
        (tmp_path / f"{name}.mp4").touch()
    listing = list_videos(tmp_path / "list.txt")
    assert len(listing.rows) == 4
    assert listing.notes == [
        f"{tmp_path}/list.txt: 2 of 6 lines repeat a video, first: 3; each counts once"
    ]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["hmdb_train.txt", "ucf_train.txt"], "2 lists of training videos"),
        (["train.csv", "classes.txt", "label_map_k400.txt"], "2 class lists"),
    ],
)
def test_an_ambiguous_folder_is_said(tmp_path, files, sentence):
    for name in files:
        write(tmp_path / name, ["a.mp4 0", "b.mp4 1"])
    for name in "ab":
        (tmp_path / f"{name}.mp4").touch()
    with pytest.raises(ValueError, match=sentence):
        list_videos(tmp_path)


def test_the_written_list_of_a_generated_set_reads_back(tree, tmp_path):
    """csv.writer's own quoting: commas, quotes and spaces in paths and labels."""
    names = ['a,b "c".mp4', "two words.mp4", "plain.mp4", "x;y.mp4"]
    labels = ["run, fast", 'say "no"', "run, fast", 'say "no"']
    with (tmp_path / "videos.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label"), *zip(names, labels, strict=True)])
    for name in names:
        (tmp_path / name).touch()
    found = {(row.path.name, row.label) for row in list_videos(tmp_path).rows}
    assert found == set(zip(names, labels, strict=True))
