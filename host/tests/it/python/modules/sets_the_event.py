"""A module that asks for the stop itself."""
import queue


def get_power(output_queue, scrape_interval_s, stop_event):
    output_queue.put({"metric": "before", "value": 1})
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    output_queue.put(input_queue.get())
    stop_event.set()
    output_queue.put({"metric": "set", "value": stop_event.is_set()})
    output_queue.put({"metric": "waited", "value": stop_event.wait()})
