"""All the ways to hand over one dictionary or more at once."""
import collections
import queue
import types


class Reading(dict):
    """A dictionary with a name of its own."""


def one(name, value=1.0):
    return {"metric": name, "labels": {"a": "b"}, "value": value, "timestamp_ms": 1762678050123}


ITEMS = [
    one("alone"),
    [one("in_a_list")],
    (one("in_a_tuple"), one("and_a_second")),
    [],
    (),
    [[one("nested")], one("beside_a_nested_list")],
    ([one("list_in_a_tuple")], (one("tuple_in_a_tuple"),)),
    [one("before_a_bad_one"), 7, None, "text", one("behind_bad_ones")],
    Reading(one("of_a_subclass")),
    collections.OrderedDict(one("ordered")),
    collections.defaultdict(str, one("with_a_default")),
    collections.UserDict(one("no_dictionary")),
    types.MappingProxyType(one("neither")),
    collections.deque([one("no_list")]),
    {1, 2},
    (one("of_a_generator") for _ in range(2)),
    [one("many", float(i)) | {"timestamp_ms": 1762678050123 + i} for i in range(500)],
    one("last"),
]


def get_power(output_queue, scrape_interval_s, stop_event):
    for item in ITEMS:
        output_queue.put(item, timeout=30)
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    while not stop_event.is_set():
        try:
            output_queue.put(input_queue.get(timeout=0.2), timeout=30)
        except queue.Empty:
            continue
