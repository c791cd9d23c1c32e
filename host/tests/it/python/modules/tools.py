"""What clients call to get at their readings: a program, a coroutine, a C function, a clock, a file of the kernel's."""
import asyncio
import ctypes
import datetime
import multiprocessing
import queue
import subprocess
import sys


def read_elsewhere(answers, factor):
    answers.put(factor * 2.5)


def deep(level):
    """Through C and back at each level: takes the thread's stack, not Python's own."""
    return max(map(deep, [level + 1]))


def deepest():
    try:
        return deep(0)
    except RecursionError:
        return 1


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
    said = subprocess.run([sys.executable, "-c", "print(7)"], capture_output=True, text=True, check=True).stdout
    output_queue.put(("python", float(said)))
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        answers = context.Queue()
        process = context.Process(target=read_elsewhere, args=(answers, 3))
        process.start()
        output_queue.put((f"process_by_{method}", answers.get(timeout=30)))
        process.join()
        output_queue.put((f"status_of_{method}", process.exitcode))
    output_queue.put(("recursion", deepest()))
    output_queue.put(("last", 1))
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    while not stop_event.is_set():
        try:
            name, value = input_queue.get(timeout=0.2)
        except queue.Empty:
            continue
        output_queue.put({"metric": name, "value": value, "timestamp_ms": 1762678050123})
