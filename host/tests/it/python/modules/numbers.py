"""What may stand where a number is expected."""
import decimal
import enum
import fractions
import queue
import sys


class Watts(float):
    pass


class Level(enum.IntEnum):
    HIGH = 7


class Convertible:
    def __float__(self):
        return 12.25

    def __int__(self):
        return 1762678050123


class Broken:
    def __float__(self):
        raise ValueError("no reading")


VALUES = [
    0, 1, -1, 2.5, -0.0, 5e-324, sys.float_info.max, 2**53 + 1, 2**64, 10**300, -(10**300),
    float("nan"), float("inf"), float("-inf"),
    True, False,
    decimal.Decimal("907.3038322028689"), decimal.Decimal("NaN"), decimal.Decimal("1E-400"),
    fractions.Fraction(1, 3),
    Watts(3.5), Level.HIGH, Convertible(),
    "12", " 12.5\n", "1e3", "1_000", "NaN", "nan", "-Infinity", "inf", "१२",
    # None of these is a number.
    "", "12 W", "0x10", None, [1.0], (1.0,), {"watts": 1.0}, b"12x", 1 + 2j, Broken(), object, 10**400,
]  # fmt: skip

TIMES = [
    1762678050123, 1762678050123.9, "1762678050123", decimal.Decimal("1762678050123.5"), Convertible(),
    # No times, or none of these days.
    0, -1, 1762678050, "2025-11-09T08:47:30", float("nan"), float("inf"), [], 10**30,
]  # fmt: skip


def get_power(output_queue, scrape_interval_s, stop_event):
    for number, value in enumerate(VALUES):
        output_queue.put({"metric": f"value_{number}", "value": value, "timestamp_ms": 1762678050123})
    for number, at in enumerate(TIMES):
        output_queue.put({"metric": f"time_{number}", "value": 1.5, "timestamp_ms": at})
    output_queue.put({"metric": "last", "value": 1})
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    while not stop_event.is_set():
        try:
            output_queue.put(input_queue.get(timeout=0.2))
        except queue.Empty:
            continue
