"""Needs what is not installed."""
import queue

import sensors_that_nobody_has


def get_power(output_queue, scrape_interval_s, stop_event):
    output_queue.put(sensors_that_nobody_has.read())


def process_data(input_queue, output_queue, stop_event):
    pass
