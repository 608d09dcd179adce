"""Random training clips per second (Sec. 4.1: 32 of 64 frames, jitter, crop) against peers.

    python benchmarks/decode.py [--clips FOLDER] [--rounds 3] [--workers 1 2]

Every reader delivers the same clips, uint8 (32, 224, 224, 3): the same spans of the same files, the
shorter side resized to the same 256 to 320 px, the same crop. One decoder thread each; readers take
turns, `rounds` times, each turn in fresh processes; the median counts. "decoding alone" decodes the
same spans from their key frames on and delivers nothing: the floor of whoever decodes every frame.
"""

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from nonlocalnet.data.clips import ClipConfig, training_view
from nonlocalnet.data.prepare import Preparation, write_prepared
from nonlocalnet.data.video import BadVideo, open_video, scaled_size

CONFIG = ClipConfig(flip=False)
SPAN = CONFIG.frames * CONFIG.stride
LIMIT_S = 900  # for one turn


def generated_set(folder: Path, count: int = 6) -> list[Path]:
    """Moving textures with camera noise: 340x256 px, 30 frames per second, 10 s, H.264."""
    import av

    paths = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 255, (90, 90, 3)).astype(np.float32)
        scene = coarse.repeat(8, 0).repeat(8, 1)
        for axis in (0, 1):  # soft edges
            scene = sum(np.roll(scene, k, axis) for k in range(-4, 5)) / 9
        path = folder / f"generated{seed}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=30)
            stream.width, stream.height, stream.pix_fmt = 340, 256, "yuv420p"
            for i in range(300):
                y, x = int(60 + 50 * np.sin(i / 20 + seed)), int(i * 1.1)
                picture = scene[y : y + 256, x : x + 340] + rng.normal(0, 4, (256, 340, 1))
                frame = av.VideoFrame.from_ndarray(
                    picture.clip(0, 255).astype(np.uint8), format="rgb24"
                )
                frame.pts, frame.time_base = i, Fraction(1, 30)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        paths.append(path)
    return paths


class Draw:
    """The random numbers of one clip, as `training_view` draws them."""

    def __init__(self, video, seed):
        rng = np.random.default_rng(seed)
        self.start = int(rng.integers(0, max(video.frames - SPAN, 0) + 1))
        self.kept = (self.start + CONFIG.stride * np.arange(CONFIG.frames)) % video.frames
        low, high = CONFIG.short_side
        self.size = scaled_size(video.height, video.width, int(rng.integers(low, high + 1)))
        self.top, self.left = (int(rng.integers(0, s - CONFIG.crop + 1)) for s in self.size)

    def crop(self, frames):
        """The training crop of frames (T, H, W, 3)."""
        side = CONFIG.crop
        return np.ascontiguousarray(
            frames[:, self.top : self.top + side, self.left : self.left + side]
        )


def ours(video, draw, seed):
    return training_view(video, CONFIG, np.random.default_rng(seed)).frames


def naive_pyav(video, draw, seed):
    """The usual loop: decode from the start, convert every frame of the span, then choose."""
    import av
    import cv2

    frames = []
    with av.open(str(video.path), metadata_errors="replace") as container:
        container.streams.video[0].codec_context.thread_count = 1
        for i, frame in enumerate(container.decode(video=0)):
            if i >= draw.start:
                frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == SPAN:
                break
    kept = [frames[(k * CONFIG.stride) % len(frames)] for k in range(CONFIG.frames)]
    return draw.crop(np.stack([cv2.resize(f, draw.size[::-1]) for f in kept]))


def opencv(video, draw, seed):
    import cv2

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(str(video.path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    capture.set(cv2.CAP_PROP_POS_FRAMES, draw.start)
    frames = []
    for i in range(SPAN):
        if not capture.grab():
            break
        if i % CONFIG.stride == 0:
            picture = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
            frames.append(cv2.resize(picture, draw.size[::-1]))
    frames = [frames[k % len(frames)] for k in range(CONFIG.frames)]
    return draw.crop(np.stack(frames))


def decord(video, draw, seed):
    import decord

    height, width = draw.size
    reader = decord.VideoReader(str(video.path), width=width, height=height, num_threads=1)
    return draw.crop(reader.get_batch(draw.kept.clip(max=len(reader) - 1)).asnumpy())


def torchcodec(video, draw, seed):
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    decoder = VideoDecoder(str(video.path), dimension_order="NHWC", transforms=[Resize(draw.size)])
    return draw.crop(decoder.get_frames_at(draw.kept.tolist()).data.numpy())


def decoding_alone(video, draw, seed):
    import av

    with av.open(str(video.path), metadata_errors="replace") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        end = (draw.start + SPAN) / video.fps
        container.seek(int(draw.start / video.fps / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            if frame.time is not None and frame.time >= end:
                break


READERS = {f.__name__: f for f in (ours, opencv, decord, torchcodec, naive_pyav, decoding_alone)}


def work(name, videos, seeds, pipe):
    """Says that it is ready, waits for the start, reads its clips; then when it ended, and MiB."""
    import torch

    torch.set_num_threads(1)
    read = READERS[name]
    try:
        draws = [Draw(videos[seed % len(videos)], seed) for seed in seeds]
        read(videos[0], draws[0], seeds[0])  # imports and first-use costs
        pipe.send("ready")
        pipe.recv()
        for seed, draw in zip(seeds, draws, strict=True):
            read(videos[seed % len(videos)], draw, seed)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        pipe.send((time.perf_counter(), memory))
    except Exception as error:
        said = (str(error).splitlines() or [""])[0]
        pipe.send(Failed(f"{type(error).__name__}: {said[:60]}"))


class Failed(str):
    """Why a reader could not do its turn."""


def hear(pipe):
    """The next word of a worker, which may have died or hang."""
    if not pipe.poll(LIMIT_S):
        return Failed(f"no answer in {LIMIT_S} s")
    try:
        return pipe.recv()
    except EOFError:
        return Failed("its process died")


def turn(name, videos, clips, workers):
    """(clips per second, MiB of the largest worker) of one turn, or why it failed."""
    spawn = multiprocessing.get_context("spawn")
    crew, pipes = [], []
    for first in range(workers):
        pipe, theirs = spawn.Pipe()
        seeds = list(range(first, clips, workers))
        crew.append(spawn.Process(target=work, args=(name, videos, seeds, theirs), daemon=True))
        crew[-1].start()
        theirs.close()  # so that the pipe ends with the process
        pipes.append(pipe)
    try:
        ready = [hear(pipe) for pipe in pipes]
        if failed := [answer for answer in ready if isinstance(answer, Failed)]:
            return failed[0]
        began = time.perf_counter()
        for pipe in pipes:
            pipe.send("go")
        results = [hear(pipe) for pipe in pipes]
        if failed := [answer for answer in results if isinstance(answer, Failed)]:
            return failed[0]
    finally:
        for process in crew:
            process.kill()
            process.join()
    ends, memories = zip(*results, strict=True)
    return clips / (max(ends) - began), max(memories)


def table(title, videos, names, clips, rounds, workers):
    found = {name: [] for name in names}
    failed = {}
    for _ in range(rounds):
        for name in (name for name in names if name not in failed):
            answer = turn(name, videos, clips, workers)
            if isinstance(answer, Failed):
                failed[name] = answer
            else:
                found[name].append(answer)
    print(f"\n{title}: {len(videos)} videos, {clips} clips, {workers} worker(s)")
    print(f"{'':<16}{'clips/s':>9}{'ours is':>9}{'MiB':>8}")
    rate = {
        name: statistics.median(r for r, _ in turns)
        for name, turns in found.items()
        if name not in failed
    }
    for name, turns in found.items():
        if name in failed:
            print(f"{name:<16}  failed: {failed[name]}")
            continue
        ratio = f"{rate['ours'] / rate[name]:.2f}x" if "ours" in rate else ""
        print(f"{name:<16}{rate[name]:>9.1f}{ratio:>9}{max(m for _, m in turns):>8.0f}")
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, help="a folder of real videos")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=48, help="clips per turn")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = {"generated 340x256": [open_video(p) for p in generated_set(folder)]}
        if options.clips:
            real = []
            for path in sorted(options.clips.iterdir()):
                try:
                    real.append(open_video(path))
                except BadVideo as error:
                    print(error)
            sets["real clips"] = real
        for workers in options.workers:
            for title, videos in sets.items():
                table(title, videos, list(READERS), options.count, options.rounds, workers)
        from nonlocalnet.data.check import examine

        videos = sets["generated 340x256"]
        cache = []
        how = Preparation(short_side=256)
        for video in videos:
            row = examine(folder, None, 8, video.path.name)
            write_prepared(folder, folder, how, None, row)
            cache.append(open_video(how.file(folder, row)))
        first = table("first epoch, decoding", videos, ["ours"], options.count, options.rounds, 1)
        second = table("from the prepared cache", cache, ["ours"], options.count, options.rounds, 1)
        print(f"\nprepared cache: {second['ours'] / first['ours']:.1f}x the decoding epoch")


if __name__ == "__main__":
    main()
