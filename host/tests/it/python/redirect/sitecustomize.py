"""Shows the files below POWERCAP_ROOT at the place where pyJoules looks for the kernel's.

Python imports this by itself, from PYTHONPATH, before any module of the client's. Each energy that is read is written down
in the file POWERCAP_READS: the zone's name and its microjoules.
"""
import builtins
import io
import os

KERNEL = "/sys/class/powercap"
ROOT, READS = os.environ["POWERCAP_ROOT"], os.environ["POWERCAP_READS"]

real_open, real_exists = builtins.open, os.path.exists


def redirected(path):
    return ROOT + path[len(KERNEL) :] if isinstance(path, str) and path.startswith(KERNEL) else path


def open_redirected(file, *arguments, **named):
    path = redirected(file)
    if path is file or not path.endswith("/energy_uj"):
        return real_open(path, *arguments, **named)
    with real_open(path) as energy, real_open(READS, "a") as reads:
        line = energy.readline()
        reads.write(f"{os.path.basename(os.path.dirname(path))} {int(line)}\n")
    return io.StringIO(line)


builtins.open = open_redirected
os.path.exists = lambda path: real_exists(redirected(path))
