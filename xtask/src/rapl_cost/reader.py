"""Reads energy counters on a fixed grid, as a Python sensor does, and says what it took.

Arguments: the root of a sysfs; `kept` (files stay open and are rewound, as pyJoules does) or `opened` (each time anew); the
interval in seconds, 0 for none; for how many seconds, or without an interval how many sweeps. Prints: sweeps, missed
deadlines, the greatest lateness in seconds, the processor seconds of all sweeps.
"""

import glob
import sys
import time

root, way, interval, amount = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
paths = sorted(glob.glob(root + "/class/powercap/intel-rapl:*/energy_uj"))

if way == "kept":
    files = [open(path) for path in paths]

    def sweep():
        values = []
        for file in files:
            file.seek(0, 0)
            values.append(float(file.readline()))
        return values

else:

    def sweep():
        values = []
        for path in paths:
            with open(path) as file:
                values.append(int(file.read()))
        return values


sweeps = missed = 0
latest = 0.0
cpu = time.process_time()
if interval == 0:
    while sweeps < amount:
        sweep()
        sweeps += 1
else:
    due = time.monotonic()
    end = due + amount
    while due < end:
        now = time.monotonic()
        if now < due:
            time.sleep(due - now)
            now = time.monotonic()
        latest = max(latest, now - due)
        sweep()
        sweeps += 1
        due += interval
        behind = time.monotonic() - due
        if behind >= interval:
            # The next point of the grid, never a burst.
            skipped = int(behind / interval) + 1
            missed += skipped
            due += skipped * interval
print(sweeps, missed, latest, time.process_time() - cpu)
