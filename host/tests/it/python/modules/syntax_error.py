"""A file that is no Python."""


def get_power(output_queue, scrape_interval_s, stop_event):
    while not stop_event.is_set()
        output_queue.put(1)


def process_data(input_queue, output_queue, stop_event):
    pass
