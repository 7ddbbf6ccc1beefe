"""How many threads to compute with: torch and FAISS load an OpenMP each, and both have to be told."""

import os


def usable_threads() -> int:
    """OMP_NUM_THREADS where it is set, else the cores that this process may run on: a container may not have all."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    return len(os.sched_getaffinity(0))
