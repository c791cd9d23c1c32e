"""Dictionaries of pyJoules' shape, left to the host to take apart."""
import queue

TIMES = [
    "2025-11-09T08:47:30.123456",
    "2025-11-09T08:47:31",
    "2025-11-09 10:47:32.5+02:00",
    "2025-11-09T08:47:33.999999Z",
    None,
    "yesterday",
    "",
    1762678050.5,
]


def get_power(output_queue, scrape_interval_s, stop_event):
    for number, time in enumerate(TIMES):
        output_queue.put(
            {"timestamp": time, "tag": "t", "duration": 0.1, f"package-{number}": 123456, "core é": 3456.5 + number}
        )
    output_queue.put({"no timestamp": 1, "uncore": None, "dram": True, "": 5, "psys": float("nan")})
    output_queue.put([{"in a list": 1}, {"timestamp": TIMES[0], "tag": "t", "duration": 0.1}])
    output_queue.put({"metric": "last", "value": 1})
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    while not stop_event.is_set():
        try:
            output_queue.put(input_queue.get(timeout=0.2))
        except queue.Empty:
            continue
