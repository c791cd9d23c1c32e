"""A module of several files, with data beside it that it names without a folder."""
import json
import os
import pathlib

import readers
from readers.fast import FACTOR
import scale


def get_power(output_queue, scrape_interval_s, stop_event):
    with open("limits.json") as file:
        output_queue.put(("relative", json.load(file)["watts"]))
    with open("größe.txt", "w") as file:
        file.write("größe\n")
    output_queue.put(("bytes_of_a_text", os.path.getsize("größe.txt")))
    with open("größe.txt") as file:
        output_queue.put(("its_characters", len(file.read())))
    output_queue.put(("by_path", json.loads((pathlib.Path(__file__).parent / "limits.json").read_text())["watts"]))
    output_queue.put(("helper", scale.scaled(2)))
    output_queue.put(("package", readers.read() * FACTOR))
    output_queue.put(("name", __name__ == "monitor_impl"))
    output_queue.put(("itself", scale.of_client() is get_power))
    output_queue.put(("in_its_folder", os.path.samefile(os.getcwd(), os.path.dirname(os.path.abspath(__file__)))))
    output_queue.put(("last", 1))
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    while not stop_event.is_set():
        try:
            name, value = input_queue.get(timeout=0.2)
        except Exception as error:
            assert type(error).__name__ == "Empty"
            continue
        output_queue.put({"metric": name, "value": value, "timestamp_ms": 1762678050123})


if __name__ == "__main__":
    raise SystemExit("it is imported, not run")
