"""A reader that sleeps and looks at no event: it is left behind when time is up."""
import time


def get_power(output_queue, scrape_interval_s, stop_event):
    output_queue.put({"metric": "last", "value": 1, "timestamp_ms": 1762678050123})
    while True:
        time.sleep(3600)


def process_data(input_queue, output_queue, stop_event):
    output_queue.put(input_queue.get())
    stop_event.wait()
