"""A reader that is faster than its processor, as programs of this kind write it: what does not fit is dropped."""
import logging
import queue
import threading

log = logging.getLogger("full-queue")
overflowed = threading.Event()


def get_power(output_queue, scrape_interval_s, stop_event):
    dropped = 0
    for number in range(20):
        try:
            output_queue.put({"number": number}, timeout=0.01)
        except queue.Full:
            dropped += 1
    log.warning("get_power: raw queue full; dropped %d", dropped)
    overflowed.set()
    output_queue.put({"number": 100 + dropped})
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    overflowed.wait()
    while not stop_event.is_set():
        try:
            number = input_queue.get(timeout=0.2)["number"]
        except queue.Empty:
            continue
        output_queue.put({"metric": "number", "value": number, "timestamp_ms": 1762678050123 + number}, timeout=1)
        if number >= 100:
            output_queue.put({"metric": "last", "value": 1})
