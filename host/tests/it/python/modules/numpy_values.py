"""numpy: floats and integers of its types, arrays, its strings, and work on its own threads."""
import queue

import numpy as np

READINGS = np.array([[1.5, 2.5, 4.0], [8.0, 16.0, 32.25]])


def get_power(output_queue, scrape_interval_s, stop_event):
    for row in READINGS:
        output_queue.put(row)
    stop_event.wait()


def values(row):
    matrix = np.outer(row, row)
    yield "mean", row.mean()
    yield "norm", np.linalg.norm(matrix @ matrix)
    yield "first", row[0]
    yield "float32", np.float32(row[1] / 3)
    yield "float16", np.float16(row[1])
    yield "longdouble", np.longdouble(row[2])
    yield "int64", row.astype(np.int64)[2]
    yield "uint8", np.uint8(200)
    yield "uint64", np.uint64(2**64 - 1)
    yield "bool", np.bool_(True)
    yield "nan", np.float64("nan")
    yield "no_dimension", np.array(row[0])
    yield "str", np.str_("12.5")
    # None of these is a number.
    yield "whole_row", row
    yield "list", [row[0]]
    yield "words", np.str_("none")


def process_data(input_queue, output_queue, stop_event):
    at = np.int64(1762678050123)
    while not stop_event.is_set():
        try:
            row = input_queue.get(timeout=0.2)
        except queue.Empty:
            continue
        at = at + 1
        batch = [
            {"metric": np.str_("numpy_" + name), "labels": {"kind": np.str_("x"), "n": np.int64(3)}, "value": value,
             "timestamp_ms": at}
            for name, value in values(row)
        ]  # fmt: skip
        output_queue.put(batch)
        output_queue.put(batch[0] | {"metric": "fraction_of_a_ms", "timestamp_ms": np.float64(at) + 0.5})
        if at == 1762678050125:
            output_queue.put({"metric": "last", "value": np.sum(READINGS)})
