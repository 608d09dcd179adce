"""Makes the timeline of a video: prints the most memory the process had, in MiB, then the JSON."""

import sys
from pathlib import Path

import nonlocalnet as nln
from nonlocalnet.engine.timeline import timeline

if __name__ == "__main__":
    model, video = sys.argv[1:]
    found = timeline(nln.load(model), video)
    # Not getrusage: its peak is that of the process that started this one, where that was larger.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
    print(found.as_json())
