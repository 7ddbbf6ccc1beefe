"""Number of threads to compute with. torch and FAISS load an OpenMP each, so both need the number."""

import os


def usable_threads() -> int:
    """Return OMP_NUM_THREADS if it is a positive number, else the number of cores this process may use.

    A container may have fewer cores than the machine.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    return len(os.sched_getaffinity(0))
