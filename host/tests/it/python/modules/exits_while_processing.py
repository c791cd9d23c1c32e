"""sys.exit() with a code, in the processor."""
import sys


def get_power(output_queue, scrape_interval_s, stop_event):
    output_queue.put({"metric": "only", "value": 1, "timestamp_ms": 1762678050123})
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    output_queue.put(input_queue.get())
    sys.exit(7)
