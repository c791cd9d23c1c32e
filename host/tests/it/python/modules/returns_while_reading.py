"""A reader that comes to its end."""


def get_power(output_queue, scrape_interval_s, stop_event):
    output_queue.put({"metric": "only", "value": 1, "timestamp_ms": 1762678050123})
    return 5


def process_data(input_queue, output_queue, stop_event):
    output_queue.put(input_queue.get())
    stop_event.wait()
