"""Readings that still wait when the stop comes: they are processed all the same."""
import queue
import time


def get_power(output_queue, scrape_interval_s, stop_event):
    for number in range(100):
        output_queue.put(number)
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    # The stop is asked for now.
    output_queue.put({"metric": "last", "value": 1})
    while not stop_event.is_set():
        try:
            number = input_queue.get(timeout=0.2)
        except queue.Empty:
            continue
        output_queue.put({"metric": "number", "value": number, "timestamp_ms": 1762678050000 + number})
        time.sleep(0.005)
