"""Fails before there is any function."""
import os

LIMIT = float(os.environ["SENSOR_LIMIT_W"])


def get_power(output_queue, scrape_interval_s, stop_event):
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    stop_event.wait()
