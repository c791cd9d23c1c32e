"""All that a queue.Queue of two places and its users can do to each other, each step's outcome told as a sample."""
import queue
import threading
import time
from queue import Empty, Full

steps = []
filled, emptied = threading.Event(), threading.Event()


def step(name, outcome):
    steps.append({"metric": "step", "labels": {"name": name}, "value": outcome, "timestamp_ms": 1762678050123})


def outcome(function, *arguments, **named):
    """1 for nothing, 2 for Full, 3 for Empty, 4 for ValueError, 5 for TypeError."""
    try:
        function(*arguments, **named)
        return 1
    except Full:
        return 2
    except Empty:
        return 3
    except ValueError:
        return 4
    except TypeError:
        return 5


def took(function, *arguments, **named):
    start = time.monotonic()
    code = outcome(function, *arguments, **named)
    return code, time.monotonic() - start


def get_power(output_queue, scrape_interval_s, stop_event):
    step("classes", queue.Full is Full and issubclass(Full, Exception))
    step("empty_at_first", output_queue.empty())
    step("not_full_at_first", output_queue.full())
    step("qsize_at_first", output_queue.qsize())
    step("put", outcome(output_queue.put, "first"))
    step("neither_empty", output_queue.empty())
    step("nor_full", output_queue.full())
    step("put_named", outcome(output_queue.put, item="second", block=True, timeout=5))
    step("full", output_queue.full())
    step("qsize", output_queue.qsize())
    step("put_nowait", outcome(output_queue.put_nowait, "third"))
    step("put_not_blocking", outcome(output_queue.put, "third", False))
    step("put_not_blocking_with_timeout", outcome(output_queue.put, "third", block=False, timeout=60))
    code, seconds = took(output_queue.put, "third", timeout=0.1)
    step("put_timeout", code)
    step("put_timeout_waits", 0.1 <= seconds < 5)
    code, seconds = took(output_queue.put, "third", True, 0)
    step("put_timeout_zero", code)
    step("put_timeout_zero_is_quick", seconds < 5)
    step("put_timeout_negative", outcome(output_queue.put, "third", timeout=-1))
    step("put_nothing", outcome(output_queue.put))
    filled.set()
    # Waits until somebody makes room.
    step("put_blocks", outcome(output_queue.put, "third"))
    emptied.wait()
    step("empty_at_last", output_queue.empty())
    output_queue.put("end")
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    filled.wait()
    time.sleep(0.1)
    step("get", ["first", "second"].index(input_queue.get()))
    step("get_named", ["second", "third"].index(input_queue.get(block=True, timeout=5)))
    step("get_third", ["third"].index(input_queue.get(True, 5)))
    step("get_nowait", outcome(input_queue.get_nowait))
    step("get_not_blocking", outcome(input_queue.get, False))
    step("get_not_blocking_with_timeout", outcome(input_queue.get, block=False, timeout=60))
    code, seconds = took(input_queue.get, timeout=0.1)
    step("get_timeout", code)
    step("get_timeout_waits", 0.1 <= seconds < 5)
    step("get_timeout_zero", outcome(input_queue.get, True, 0))
    step("get_timeout_negative", outcome(input_queue.get, timeout=-1))
    emptied.set()
    step("get_blocks", len(input_queue.get()))
    for number in range(5):
        step(f"task_done_{number}", outcome(input_queue.task_done))
    step("join", outcome(input_queue.join))
    step("maxsize", input_queue.maxsize)
    step("is_a_queue", isinstance(input_queue, queue.Queue) and isinstance(output_queue, queue.Queue))
    step("is_an_event", isinstance(stop_event, threading.Event))
    for done in sorted(steps, key=lambda one: one["labels"]["name"]):
        output_queue.put(done)
    step("output_put_negative", outcome(output_queue.put, {}, timeout=-1))
    step("output_put_named", outcome(output_queue.put, item=[], block=True, timeout=5))
    step("output_put_nowait", outcome(output_queue.put_nowait, []))
    step("output_not_full", output_queue.full())
    output_queue.put(steps[-4:])
    output_queue.put({"metric": "last", "value": 1})
    stop_event.wait()
