"""What clients call to get at their readings: a program, a coroutine, a C function, a clock, a file of the kernel's."""
import asyncio
import ctypes
import datetime
import queue
import subprocess


async def read_two():
    async def read(value):
        await asyncio.sleep(0.01)
        return value

    return await asyncio.gather(read(1.5), read(2.5))


def get_power(output_queue, scrape_interval_s, stop_event):
    said = subprocess.run(["echo", "12.5 W"], capture_output=True, text=True, check=True).stdout
    output_queue.put(("program", float(said.split()[0])))
    output_queue.put(("coroutine", sum(asyncio.run(read_two()))))
    libc = ctypes.CDLL(None)
    libc.labs.restype = ctypes.c_long
    output_queue.put(("c_function", libc.labs(ctypes.c_long(-(2**40)))))
    at = datetime.datetime(2025, 11, 9, 8, 47, 30, 123456, tzinfo=datetime.timezone.utc)
    output_queue.put(("time", int(at.timestamp() * 1000)))
    with open("/proc/self/comm") as file:
        output_queue.put(("file", len(file.readlines())))
    output_queue.put(("last", 1))
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    while not stop_event.is_set():
        try:
            name, value = input_queue.get(timeout=0.2)
        except queue.Empty:
            continue
        output_queue.put({"metric": name, "value": value, "timestamp_ms": 1762678050123})
