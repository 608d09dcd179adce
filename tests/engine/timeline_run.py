"""Makes the timeline of a video: prints the most memory the process had, in MiB, then the JSON."""

import resource
import sys

import nonlocalnet as nln
from nonlocalnet.engine.timeline import timeline

if __name__ == "__main__":
    model, video = sys.argv[1:]
    found = timeline(nln.load(model), video)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(found.as_json())
