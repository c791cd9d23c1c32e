"""Names and labels: any characters, and other things than text."""
import enum
import pathlib
import queue


class Place(str, enum.Enum):
    RACK = "rack 7"


class Name(str):
    pass


METRICS = ["plain", "with:colon", Name("of_a_subclass"), None, "", "9digit", "a-b", "é", "a b", 5, ["m"], b"bytes", "x\n"]

LABELS = [
    {"a": "é \" \\ \n \t 😀 \x00 \x7f \u2028"},
    {"a": "half of a pair \udcff", "b": "\ud83d and \ude00"},
    {"a": "x" * 65536},
    {"a": "x" * 65537},
    {"a": Place.RACK, "b": Name("n")},
    {"a": 0, "b": 2.5, "c": True, "d": None, "e": "", "f": 2**63},
    {"b": "2", "Z": "0", "a": "1"},
    None,
    {},
    [("a", "b")],
    "a=b",
    {"a": ["x"]},
    {"a": {}},
    {"a": b"bytes"},
    {"a": pathlib.PurePath("/sys")},
    {"a-b": "1"},
    {"": "1"},
    {"__name__": "1"},
    {"naïve": "1"},
]

RECORDS = [
    {"value": 1},
    {"metric": "no_value"},
    {"metric": "value_none", "value": None},
    {"metric": "more", "value": 1, "unit": "J", "tag": object(), 5: "x"},
    {},
]


def get_power(output_queue, scrape_interval_s, stop_event):
    for metric in METRICS:
        output_queue.put({"metric": metric, "labels": {"of": repr(metric)}, "value": 1, "timestamp_ms": 1762678050123})
    for number, labels in enumerate(LABELS):
        output_queue.put({"metric": f"labels_{number}", "labels": labels, "value": 1, "timestamp_ms": 1762678050123})
    for record in RECORDS:
        output_queue.put(record)
    output_queue.put({"metric": "last", "value": 1})
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    while not stop_event.is_set():
        try:
            output_queue.put(input_queue.get(timeout=0.2))
        except queue.Empty:
            continue
