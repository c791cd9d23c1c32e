"""A sensor that sleeps on its own: nothing wakes it before that is over."""
import time


def get_power(output_queue, scrape_interval_s, stop_event):
    while not stop_event.is_set():
        output_queue.put(time.time())
        time.sleep(min(scrape_interval_s, 0.3))


def process_data(input_queue, output_queue, stop_event):
    while not stop_event.is_set():
        read_at = input_queue.get()
        output_queue.put({"metric": "read_at", "labels": {}, "value": read_at, "timestamp_ms": int(read_at * 1000)})
