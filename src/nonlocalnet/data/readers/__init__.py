"""One file per way of getting at frames; nonlocalnet.data.video chooses and calls them.

Each offers three functions:
`open_source(path, fps)` -> Video, one frame decoded to prove that it can be;
`read(video, wanted, size, threads)` -> pairs (index, upright uint8 picture of the size), ascending;
`seconds(video)` -> when each frame is shown.
Those of video files also have `library()`, which raises MissingLibrary where theirs is not there.
"""
