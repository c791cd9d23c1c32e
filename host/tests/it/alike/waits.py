"""A sensor as they are written for the original: it sleeps by the event, and looks up from its queue every other moment."""
import queue
import time


def get_power(output_queue, scrape_interval_s, stop_event):
    while not stop_event.is_set():
        output_queue.put(time.time())
        stop_event.wait(scrape_interval_s)


def process_data(input_queue, output_queue, stop_event):
    while not stop_event.is_set():
        try:
            read_at = input_queue.get(timeout=1)
        except queue.Empty:
            continue
        output_queue.put({"metric": "read_at", "labels": {}, "value": read_at, "timestamp_ms": int(read_at * 1000)})
