"""Broken lists: each fault is one sentence with the file, the line, the text and the cure."""

import pytest

from nonlocalnet.data.listing import list_videos

CHARADES = "id,subject,actions,length\n"
FRAMES = "original_vido_id video_id frame_id path labels\n"
KINETICS = "label,youtube_id,time_start,time_end,split\n"

BROKEN = {
    "empty": (
        "list.txt",
        "\n\n",
        "DIR/list.txt: an empty list; write one video per line, as: clip.mp4 label",
    ),
    "no-label": (
        "list.txt",
        "1.mp4 0\n\ntwo words.mp4\n",
        "DIR/list.txt:3: 'two words.mp4' has no label; write the path, a space and the label",
    ),
    "open-quote": (
        "list.txt",
        '1.mp4 0\n"two words.mp4 1\n',
        "DIR/list.txt:2: '\"two words.mp4 1' opens a double quote and does not close it "
        'before the label; write "a path.mp4" label',
    ),
    "several-labels": (
        "list.txt",
        "1.mp4 0\ntwo words.mp4 1,2\n",
        "DIR/list.txt:2: '1,2' is more than one label, and such a list has one per video; keep "
        "one, or write a list with the columns path and labels",
    ),
    "names-and-numbers": (
        "list.txt",
        "1.mp4 run\ntwo words.mp4 1\n",
        "DIR/list.txt:1: label 'run' is a name, where DIR/list.txt:2 has the number 1; "
        "write names or numbers throughout",
    ),
    "no-such-class-number": (
        "list.txt",
        "1.mp4 0\ntwo words.mp4 2\n",
        "DIR/list.txt:2: class number 2 is none of the 2 classes of DIR/classes.txt, which "
        "are 0 to 1; correct one of the two",
    ),
    "two-labels": (
        "list.txt",
        "1.mp4 0\ntwo words.mp4 1\n1.mp4 1\n",
        "DIR/list.txt:3: 1.mp4 has label '1' here and '0' in line 1; keep one of the two",
    ),
    "no-frames": (
        "list.txt",
        "frames/a 120 0\nframes/b 0 1\n",
        "DIR/list.txt:2: 'frames/b' is listed with 0 frames; extract its frames, or delete "
        "the line",
    ),
    "all-missing": (
        "list.txt",
        "a.mp4 0\nb.mp4 1\n",
        "DIR/list.txt:1: none of the 2 listed videos is under DIR, first: a.mp4; say with "
        "--videos where they are",
    ),
    "header": (
        "list.csv",
        "file,class\n1.mp4,run\n",
        "DIR/list.csv:1: 'file,class' is neither a video with its label nor a header with "
        "the columns path and label (and perhaps split); name the columns so",
    ),
    "header-only": (
        "list.csv",
        "path,label\n",
        "DIR/list.csv: a header and no video below it; add one video per line",
    ),
    "no-path": (
        "list.csv",
        "path,label\n1.mp4,run\n,sit\n",
        "DIR/list.csv:3: path '' and label 'sit' must both be given; fill in the line or delete it",
    ),
    "split": (
        "list.csv",
        "path,label,split\n1.mp4,run,train\ntwo words.mp4,sit,dev\n",
        "DIR/list.csv:3: split must be train, val or test, got 'dev'; correct it or empty it",
    ),
    "some-splits": (
        "list.csv",
        "path,label,split\n1.mp4,run,train\ntwo words.mp4,sit,\n",
        "DIR/list.csv:3: no split for two words.mp4, while other lines have one; fill it in"
        " for all or for none",
    ),
    "comma": (
        "list.csv",
        "path,label\n1.mp4,run\nHello, world.mp4,sit\n",
        "DIR/list.csv:3: 3 values in 'Hello, world.mp4,sit', where the header names 2 "
        "columns (path, label); put a text that holds a comma in double quotes",
    ),
    "csv-quote": (
        "list.csv",
        'path,label\n1.mp4,run\n"two words.mp4,sit\n',
        "DIR/list.csv:3: a double quote is opened and not closed in '\"two words.mp4,sit'; "
        "close it, and double those inside quoted text",
    ),
    "latin-1": (
        "list.csv",
        b"path,label\n1.mp4,run\ntwo words.mp4,f\xeate\n",
        "DIR/list.csv:3: 'two words.mp4,fête' is not UTF-8 text (byte 0xea); save the list "
        "again as UTF-8",
    ),
    "utf-16": (
        "list.csv",
        "path,label\n1.mp4,run\n".encode("utf-16"),
        "DIR/list.csv:1: UTF-16 text, where UTF-8 was expected; save the list again as "
        "UTF-8 (a spreadsheet calls it CSV UTF-8)",
    ),
    "empty-name": (
        "list.csv",
        "path,labels\n1.mp4,run;sit\ntwo words.mp4,run;;sit\n",
        "DIR/list.csv:3: labels 'run;;sit' of two words.mp4 must be names with a semicolon "
        "between them, each once, or nothing; correct them",
    ),
    "name-twice": (
        "list.csv",
        "path,labels\n1.mp4,run; run\n",
        "DIR/list.csv:2: labels 'run; run' of 1.mp4 must be names with a semicolon between "
        "them, each once, or nothing; correct them",
    ),
    "labels-no-path": (
        "list.csv",
        "path,labels\n1.mp4,run\n,run;sit\n",
        "DIR/list.csv:3: labels 'run;sit' without a path; fill it in or delete the line",
    ),
    "label-and-labels": (
        "list.csv",
        "path,label,labels\n1.mp4,run,run;sit\n",
        "DIR/list.csv:1: columns label and labels; keep label where every video has one, "
        "labels where it may have several",
    ),
    "unlike-labels": (
        "list.csv",
        "path,labels\n1.mp4,run;sit\n1.mp4,\n",
        "DIR/list.csv:3: 1.mp4 has label '' here and 'run;sit' in line 2; keep one of the two",
    ),
    "nothing-but-empty-labels": (
        "list.csv",
        "path,labels\n1.mp4,\ntwo words.mp4,\n",
        "DIR/list.csv: found 2 videos of 0 classes, needs at least 2 classes; make one "
        "folder per class with its clips inside, or list them",
    ),
    "one-class": (
        "list.csv",
        "path,label\n1.mp4,run\ntwo words.mp4,run\n",
        "DIR/list.csv: found 2 videos of 1 classes, needs at least 2 classes; make one "
        "folder per class with its clips inside, or list them",
    ),
    "kinetics-time": (
        "k.csv",
        KINETICS + "run,1,3,13,train\nsit,2,0:05,15,train\n",
        "DIR/k.csv:3: time_start '0:05' is not a number of seconds; correct it (the "
        "official lists have whole seconds such as 59)",
    ),
    "kinetics-no-labels": (
        "k.csv",
        "youtube_id,time_start,time_end,split\n1,3,13,test\n",
        "DIR/k.csv:1: the header has no column label (the official test list has none), so "
        "its videos are left out; give a list with labels",
    ),
    "charades-action": (
        "c.csv",
        CHARADES + "1,7,c092 11.90,30\n",
        "DIR/c.csv:2: action 'c092 11.90' is not CLASS START END, as in 'c092 11.90 "
        "21.20;c147 0.00 12.60'; correct it",
    ),
    "charades-class": (
        "c.csv",
        CHARADES + "1,7,c001 1 2;c157 0.00 12.60,30\n",
        "DIR/c.csv:2: 'c157' is no class of Charades; they are c000 to c156 (or 0 to 156), "
        "correct it",
    ),
    "frame-list-columns": (
        "f.csv",
        FRAMES + '1 0 0 1/1-000001.jpg ""\n1 0 1 1/1-000002.jpg\n',
        "DIR/f.csv:3: 4 columns in '1 0 1 1/1-000002.jpg', where 5 were expected "
        '(original_vido_id video_id frame_id path labels, no spaces inside, "" for no '
        "label); correct the line",
    ),
    "frame-list-label": (
        "f.csv",
        FRAMES + '1 0 0 1/1-000001.jpg "12,x"\n',
        "DIR/f.csv:2: 'x' is no class of Charades; they are c000 to c156 (or 0 to 156), correct it",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_list_says_where_what_and_how_to_cure_it(tmp_path, fault):
    name, text, sentence = BROKEN[fault]
    for video in ("1.mp4", "two words.mp4"):
        (tmp_path / video).write_bytes(b"listed, not opened")
    for folder in ("a", "b"):
        (tmp_path / "frames" / folder).mkdir(parents=True)
    if fault == "no-such-class-number":
        (tmp_path / "classes.txt").write_text("run\nsit\n", encoding="utf-8")
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as caught:
        list_videos(tmp_path / name)
    assert str(caught.value).replace(str(tmp_path), "DIR") == sentence
