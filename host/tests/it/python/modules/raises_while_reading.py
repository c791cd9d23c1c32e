"""A sensor that fails in the middle; what was read before it still is processed."""
import queue


class SensorGone(Exception):
    pass


def read(number):
    if number == 3:
        try:
            return {}["hwmon3"]
        except KeyError as error:
            raise SensorGone("hwmon3 does not answer: \udcff") from error
    return number


def get_power(output_queue, scrape_interval_s, stop_event):
    for number in range(10):
        output_queue.put(read(number))


def process_data(input_queue, output_queue, stop_event):
    while not stop_event.is_set():
        try:
            number = input_queue.get(timeout=0.2)
        except queue.Empty:
            continue
        output_queue.put({"metric": "number", "value": number, "timestamp_ms": 1762678050123 + number})
