"""Has one of the two functions only."""


def get_power(output_queue, scrape_interval_s, stop_event):
    stop_event.wait()
