"""Uploads that mean harm, over real HTTP to a real server: refused, and nothing left behind."""

import http.client
import os
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers import ask, outcome, serving, write_model
from videos import write_sound, write_video

from nonlocalnet.cli.main import main
from nonlocalnet.web.limits import is_video

LIMITS = ["--limits.megabytes", "2", "--limits.upload_seconds", "4", "--limits.queue", "3"]
LIMITS += ["--limits.video_seconds", "20", "--limits.frames", "400"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(address, folder of the server's temporary files)."""
    folder = tmp_path_factory.mktemp("serve")
    model = write_model(folder / "m.safetensors")
    with serving(model, folder / "tmp", *LIMITS) as address:
        yield address, folder / "tmp"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", 48).read_bytes()


def stored(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix == ".upload"]


def gif(width: int, height: int, frames: int, delay: int) -> bytes:
    """A GIF of one-pixel frames on a canvas of any size; the delay is in 1/100 s."""
    content = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"!\xf9\x04\0" + struct.pack("<H", delay) + b"\0\0"
    frame += b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return content + frames * frame + b";"


def test_a_video_is_answered_and_its_upload_removed(server, clip):
    address, folder = server
    status, said = ask(f"{address}/jobs", clip)
    assert status == 202
    answer = outcome(address, said["job"])
    assert answer["state"] == "done", answer
    assert sum(row["score"] for row in answer["top"]) == pytest.approx(1, abs=1e-5)
    assert answer["timeline"][-1]["end"] == pytest.approx(48 / 30, abs=0.01)
    assert stored(folder) == []


def test_the_answer_is_that_of_predict(server, clip, tmp_path):
    import nonlocalnet as nln

    address, folder = server
    (tmp_path / "clip.mp4").write_bytes(clip)
    model = nln.load(folder.parent / "m.safetensors")
    _, said = ask(f"{address}/jobs", clip)
    top = [(row["label"], row["score"]) for row in outcome(address, said["job"])["top"]]
    want = model.predict(tmp_path / "clip.mp4").top(5)
    assert [label for label, _ in top] == [label for label, _ in want]
    assert [score for _, score in top] == pytest.approx([score for _, score in want], abs=1e-5)


REFUSED = {
    "a large canvas": (gif(8000, 8000, 2, 10), "px in all are taken"),
    "many frames": (gif(16, 16, 20_000, 2), "up to 400 are taken"),
    "a long time": (gif(16, 16, 3, 60_000), "up to 20 s are taken"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_bomb_of_frames_is_refused_before_it_is_decoded(server, clip, kind):
    address, folder = server
    bomb, sentence = REFUSED[kind]
    assert len(bomb) < 500_000
    status, said = ask(f"{address}/jobs", bomb)
    assert status == 202
    answer = outcome(address, said["job"])
    assert answer["state"] == "failed"
    assert sentence in answer["fault"]
    assert str(folder) not in answer["fault"]
    assert stored(folder) == []


def test_a_bomb_in_mp4_is_refused_too(server, tmp_path):
    import numpy as np

    black = np.zeros((4096, 4096, 3), np.uint8)
    options = {"preset": "ultrafast"}
    bomb = write_video(tmp_path / "b.mp4", [black] * 2, options=options).read_bytes()
    assert len(bomb) < 100_000
    _, said = ask(f"{server[0]}/jobs", bomb)
    assert "frames are 4096x4096 px" in outcome(server[0], said["job"])["fault"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<script>alert(1)</script>" * 100,
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        b"MZ" + bytes(500),
        b"RIFF\0\0\0\0WAVE" + bytes(500),
    ],
    ids=["nothing", "text", "playlist", "concat", "html", "picture", "program", "sound"],
)
def test_what_is_no_video_is_refused_by_its_first_bytes(server, content):
    status, said = ask(f"{server[0]}/jobs", content)
    assert status == 415
    assert "not a video file" in said["fault"]
    assert not is_video(content)


def test_what_only_begins_like_a_video_is_refused_in_words(server, tmp_path):
    address, folder = server
    for content in (b"\0\0\0\x18ftypisom" + os.urandom(5000), b"\x1a\x45\xdf\xa3" + bytes(900)):
        _, said = ask(f"{address}/jobs", content)
        fault = outcome(address, said["job"])["fault"]
        assert fault.startswith("This video is refused: not a video that FFmpeg can read")
        assert str(folder) not in fault
    _, said = ask(f"{address}/jobs", write_sound(tmp_path / "s.mp4").read_bytes())
    assert "no video stream in it, only audio" in outcome(address, said["job"])["fault"]


def test_too_large_by_its_own_word_is_refused_before_a_byte_is_read(server, clip):
    parts = urlsplit(server[0])
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as line:
        head = f"POST /jobs HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 2000000000\r\n\r\n"
        line.sendall(head.encode())
        said = line.recv(65536)
    assert b" 413 " in said.splitlines()[0]


def test_two_gigabytes_are_refused_while_they_come_and_not_stored(server, clip):
    address, folder = server
    most, sent = 0, 0

    def chunks():
        nonlocal most, sent
        yield clip
        while sent < 2_000_000_000:
            sent += 1_000_000
            yield bytes(1_000_000)
            for path in stored(folder):
                with suppress(FileNotFoundError):  # refused and removed since it was listed
                    most = max(most, path.stat().st_size)

    line = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    try:
        line.request(
            "POST",
            "/jobs",
            body=chunks(),
            encode_chunked=True,
            headers={"Transfer-Encoding": "chunked"},
        )
        status = line.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # it has stopped listening
    finally:
        line.close()
    assert status == 413
    assert most <= 2_000_000 + 65536
    assert stored(folder) == []
    assert ask(f"{address}/limits")[1]["megabytes"] == 2  # still there


def test_a_slow_upload_is_given_up(server, clip):
    address, folder = server
    parts = urlsplit(address)
    began = time.monotonic()
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as line:
        head = f"POST /jobs HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(clip)}\r\n\r\n"
        line.sendall(head.encode() + clip[:300])
        said = line.recv(65536)  # and nothing more is sent
    assert b" 408 " in said.splitlines()[0]
    assert 4 <= time.monotonic() - began < 20
    assert stored(folder) == []


def test_an_upload_that_is_broken_off_leaves_nothing(server, clip):
    address, folder = server
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as line:
        head = f"POST /jobs HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(clip)}\r\n\r\n"
        line.sendall(head.encode() + clip[:3000])
        time.sleep(0.3)
    for _ in range(100):
        if not stored(folder):
            break
        time.sleep(0.1)
    assert stored(folder) == []


def test_videos_wait_for_their_turn_and_too_many_are_sent_away(server, clip):
    address, _ = server
    first = [ask(f"{address}/jobs", clip) for _ in range(5)]
    taken = [said["job"] for status, said in first if status == 202]
    assert 3 <= len(taken) < 5  # the queue holds three; one may have been done meanwhile
    assert {status for status, _ in first} == {202, 503}
    last = ask(f"{address}/jobs/{taken[-1]}")[1]
    assert last["state"] == "waiting"
    assert last["before"] >= 1
    for job in taken:
        assert outcome(address, job)["state"] == "done"


def test_uploads_that_cannot_be_stored_keep_no_place(server, clip, tmp_path):
    """More than the queue holds; then the disk is well again."""
    address, folder = server
    (place,) = [path for path in folder.iterdir() if path.is_dir()]
    place.rename(tmp_path / "gone")
    answers = [ask(f"{address}/jobs", clip) for _ in range(4)]
    (tmp_path / "gone").rename(place)
    assert [status for status, _ in answers] == [507] * 4
    assert answers[0][1]["fault"] == "The server has no place for this video now."
    status, said = ask(f"{address}/jobs", clip)
    assert status == 202
    assert outcome(address, said["job"])["state"] == "done"


def test_only_one_is_looked_at_at_a_time(server, clip):
    address, _ = server
    jobs = [ask(f"{address}/jobs", clip)[1]["job"] for _ in range(2)]
    seen = set()
    while True:
        # The later one first: it may begin between the two questions.
        states = tuple(ask(f"{address}/jobs/{job}")[1]["state"] for job in jobs[::-1])[::-1]
        seen.add(states)
        if states == ("done", "done"):
            break
        assert states.count("working") <= 1
        assert states[1] in ("waiting", "working", "done")
        time.sleep(0.02)
    assert ("working", "waiting") in seen


def test_a_video_that_takes_too_long_is_stopped_and_the_next_one_is_answered(tmp_path, clip):
    model = write_model(tmp_path / "m.safetensors")
    endless = write_video(tmp_path / "long.mp4", 15000, fps=120, options={"preset": "ultrafast"})
    more = ["--limits.work_seconds", "3", "--limits.video_seconds", "200"]
    with serving(model, tmp_path / "tmp", *more) as address:
        slow = ask(f"{address}/jobs", endless.read_bytes())[1]["job"]
        quick = ask(f"{address}/jobs", clip)[1]["job"]
        assert "more than 3 s and was stopped" in outcome(address, slow)["fault"]
        assert outcome(address, quick)["state"] == "done"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "example.org"}, 400),
    ],
    ids=["another site", "a file", "another name"],
)
def test_pages_of_others_cannot_use_it(server, clip, headers, status):
    parts = urlsplit(server[0])
    line = http.client.HTTPConnection(parts.netloc, timeout=60)
    line.request("POST", "/jobs", body=clip, headers=headers)
    assert line.getresponse().status == status
    line.close()


def test_the_loopback_address_of_ipv6_is_asked_by_its_own_name_only(tmp_path):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    model = write_model(tmp_path / "m.safetensors")
    with serving(model, tmp_path / "tmp", "--host", "::1") as address:
        for host, status in ((urlsplit(address).netloc, 200), ("example.org", 400)):
            line = http.client.HTTPConnection("::1", urlsplit(address).port, timeout=60)
            line.request("GET", "/", headers={"Host": host})
            assert line.getresponse().status == status
            line.close()


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/none",
        "/jobs/..%2f..%2fetc%2fpasswd",
        "/jobs/none/explorer",
        "/../../etc/passwd",
        "/x",
    ],
)
def test_names_are_looked_up_and_never_opened(server, path):
    line = http.client.HTTPConnection(urlsplit(server[0]).netloc, timeout=60)
    line.request("GET", path)
    answer = line.getresponse()
    assert answer.status == 404
    assert b"root:" not in answer.read()
    line.close()


def test_every_answer_forbids_what_it_does_not_need(server, clip):
    address, _ = server
    job = ask(f"{address}/jobs", clip)[1]["job"]
    outcome(address, job)
    line = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    for path in ("/", "/page.js", "/page.css", "/limits", f"/jobs/{job}", f"/jobs/{job}/explorer"):
        line.request("GET", path)
        answer = line.getresponse()
        answer.read()
        assert answer.status == 200
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "sandbox allow-scripts" in policy or "default-src 'none'" in policy
        assert "server" not in {name.lower() for name in answer.headers}
    line.close()


def test_results_do_not_stay_for_ever(tmp_path, clip):
    model = write_model(tmp_path / "m.safetensors")
    with serving(model, tmp_path / "tmp", "--limits.keep_seconds", "0.5") as address:
        job = ask(f"{address}/jobs", clip)[1]["job"]
        assert outcome(address, job)["state"] in ("done", "failed")
        for _ in range(100):
            if ask(f"{address}/jobs/{job}")[0] == 404:
                break
            time.sleep(0.1)
        assert ask(f"{address}/jobs/{job}")[0] == 404
        assert not list((tmp_path / "tmp").rglob("*.html"))


def test_a_taken_port_and_a_bad_model_are_one_sentence(tmp_path, capsys):
    model = write_model(tmp_path / "m.safetensors")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--model", str(model), "--port", port]) == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err
    assert main(["serve", "--model", str(tmp_path / "none")]) == 2
    assert "no such model file" in capsys.readouterr().err
    assert main(["serve", "--model", str(model), "--limits.frames", "0"]) == 2
    assert "limits.frames=0 must be above 0" in capsys.readouterr().err
    assert threading.active_count() < 10
