"""Items made by chance, out of everything that the other modules have and more; SEED chooses which."""
import datetime
import decimal
import enum
import fractions
import os
import queue
import random
import uuid

import numpy as np

chance = random.Random(int(os.environ.get("SEED", "1")))
numbers = iter(range(10**9))


class Odd:
    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text


class Level(enum.IntEnum):
    HIGH = 7


SCALARS = [
    None, True, False, 0, 1, -1, 7.25, -0.0, 1e-320, 2**53 + 1, 2**63, -(2**63),
    float("nan"), float("inf"), float("-inf"), "", " ", "12", "12.5", "-3e2", "NaN", "Infinity", "nan", "x", "é", "\x00", "\udcff",
    b"12", b"x", decimal.Decimal("1.5"), decimal.Decimal("sNaN"), decimal.Decimal("-Infinity"), fractions.Fraction(7, 4),
    Level.HIGH, 3 + 0j, Odd("text"), Odd("5"), object, uuid.UUID(int=7), datetime.timedelta(seconds=1),
    np.float64(2.5), np.float32(0.1), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True), np.str_("9"), np.array(4.5), np.array([1.5]),
    np.array([1, 2]), np.float64("nan"), np.datetime64("2025-11-09"), range(3), bytearray(b"8"), ...,
]  # fmt: skip

HUGE = [2**64, 10**40, 10**400]

TIMES = SCALARS + HUGE + [
    1762678050123, 1762678050123.75, "1762678050123", np.int64(1762678050123), np.float64(1762678050123.5),
    946684799999, 946684800000, 4102444799999, 4102444800000, 1762678050, decimal.Decimal(1762678050123), Odd("1762678050123"),
]  # fmt: skip

MOMENTS = [
    None, "", "2025-11-09T08:47:30", "2025-11-09T08:47:30.123456", "2025-11-09 08:47:30.5+01:00", "2025-11-09T08:47:30Z", "now", 5,
    "1999-12-31T23:59:59.999", "2100-01-01T00:00:00",
]  # fmt: skip


def often(likely, otherwise):
    return likely if chance.random() < 0.8 else chance.choice(otherwise)


def container():
    return chance.choice([[], [1], (), (1,), {}, {"a": 1}, [[]], {"value": "5"}, set(), frozenset("a")])


def labels(number):
    if chance.random() < 0.1:
        return chance.choice([None, [], "a", 5, ("a",), set(), ""])
    some = {"n": str(number)}
    for _ in range(chance.randrange(3)):
        name = often(chance.choice(["a", "b", "Z", "_x", "value", "timestamp_ms"]), ["", "9", "a-b", "__a", "é", 5, "a:b"])
        some[name] = chance.choice(SCALARS + [container()])
    return some


def record():
    number = next(numbers)
    made = {"metric": often(f"m{number}", ["", None, 5, "9m", "é", "m m", np.str_(f"n{number}"), ["m"], b"m"])}
    made["labels"] = labels(number)
    made["value"] = chance.choice(SCALARS + HUGE + [container()])
    if chance.random() < 0.7:
        made["timestamp_ms"] = often(1762678050123 + number, TIMES + [container()])
    if chance.random() < 0.1:
        made[chance.choice(["unit", "tag", "timestamp", 7, None])] = chance.choice(SCALARS)
    for key in list(made):
        if chance.random() < 0.03:
            del made[key]
    # Two of one name and one millisecond are for others to judge.
    if made and not ("labels" in made and isinstance(made["labels"], dict) and "n" in made["labels"]):
        made["metric"] = f"o{number}"
    return made


def dictionary():
    made = {f"c{next(numbers)}": chance.choice(SCALARS + HUGE + [container()]) for _ in range(chance.randrange(4))}
    if chance.random() < 0.7:
        made["timestamp"] = chance.choice(MOMENTS)
    if chance.random() < 0.5:
        made.update(tag="t", duration=0.1)
    return made


def item():
    kind = chance.random()
    if kind < 0.5:
        return record()
    if kind < 0.65:
        return dictionary()
    if kind < 0.75:
        return chance.choice(SCALARS + HUGE + [[], (), set(), {}])
    parts = [record, record, dictionary, lambda: chance.choice(SCALARS + [[], ()])]
    return chance.choice([list, tuple])(chance.choice(parts)() for _ in range(chance.randrange(5)))


def get_power(output_queue, scrape_interval_s, stop_event):
    for _ in range(400):
        output_queue.put(item())
    output_queue.put({"metric": "last", "value": 1})
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    while not stop_event.is_set():
        try:
            output_queue.put(input_queue.get(timeout=0.2))
        except queue.Empty:
            continue
