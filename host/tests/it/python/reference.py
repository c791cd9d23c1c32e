"""Runs a monitor_impl.py under plain CPython, as the Python program did, and writes down what it sends.

Enters: the path of a module, the same variables as the host's. Leaves: a JSON object in the file that is named second (see
`main`). Never: knows the host or its bridge; what it makes of a dictionary follows docs/records.md alone, and
`reference.py --check docs/records.md` holds it against the cases there.

    reference.py MODULE.py RESULT.json
"""

import datetime
import importlib.util
import json
import logging
import math
import operator
import os
import queue
import re
import sys
import threading
import time
import traceback

METRIC_DEFAULT = os.environ.get("METRIC_DEFAULT") or "pyjoules_remote_write_energy_uj"
SERVICE_LABEL = os.environ.get("SERVICE_LABEL") or "monitor"

# A module that neither sends its record `last` nor ends is a mistake of the test's.
LONGEST_S = 60

# How long what still waits may take to be processed, and how long the two functions to end: the first one of them may sleep on.
PROCESSING_S, ENDING_S = 30, (1, 10)

EARLIEST_MS, END_MS = 946_684_800_000, 4_102_444_800_000


class Rejected(Exception):
    """What the ledger would count, by its reason."""


# --- A thing from the processed queue becomes samples. -------------------------------------------------------------


def coerced(item):
    """A record as the Python program took it: `float(value)`, `int(timestamp_ms)`, whatever their types. What these refuse
    is left as it is, for the rules of docs/records.md to refuse."""
    if not isinstance(item, dict) or not is_record(item):
        return item
    item = dict(item)
    for key, function in (("value", float), ("timestamp_ms", int)):
        try:
            if item.get(key) is not None:
                item[key] = function(item[key])
        except (TypeError, ValueError, OverflowError):
            pass
    return item


def plain(thing):
    """The same with nothing but what JSON has: numbers of other kinds are numbers, moments are ISO 8601, anything else is what
    `str` makes of it, and so is no record, no number, but perhaps a label."""
    if thing is None or isinstance(thing, (bool, int, float)):
        return thing
    if isinstance(thing, str):
        return text(thing)
    if isinstance(thing, dict):
        return {text(str(key)): plain(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [plain(one) for one in thing]
    for kind, number in (("__index__", operator.index), ("__float__", float)):
        try:
            if hasattr(type(thing), kind):
                return number(thing)
        except Exception:
            pass
    return text(thing.isoformat() if hasattr(thing, "isoformat") else str(thing))


def samples_of(item):
    """Samples and reasons for plain data: a dictionary, or a list of them, one level deep."""
    for one in item if isinstance(item, list) else [item]:
        if not isinstance(one, dict):
            yield "not_a_dictionary"
        elif is_record(one):
            yield attempt(record, one)
        else:
            yield from components(one)


def attempt(function, *arguments):
    try:
        return function(*arguments)
    except Rejected as reason:
        return str(reason)


def is_record(dictionary):
    return any(key in dictionary for key in ("metric", "labels", "value", "timestamp_ms"))


def record(record):
    metric = record.get("metric")
    if metric is None:
        metric = METRIC_DEFAULT
    if not isinstance(metric, str):
        raise Rejected("invalid_metric_name")
    if "value" not in record:
        raise Rejected("no_value")
    value = number(record["value"])
    given, at = record.get("timestamp_ms"), None
    if given is not None:
        if isinstance(given, bool) or not isinstance(given, (int, float)):
            raise Rejected("invalid_timestamp")
        at = plausible(given)
    labels = record.get("labels")
    if labels is not None and not isinstance(labels, dict):
        raise Rejected("invalid_label_value")
    labels = {name: label(value) for name, value in (labels or {}).items()}
    return sample(metric or METRIC_DEFAULT, labels, value, at)


def components(dictionary):
    rest = {key: value for key, value in dictionary.items() if key not in ("timestamp", "tag", "duration")}
    if not rest:
        yield "no_value"
    for component, value in rest.items():
        yield attempt(component_sample, dictionary, component, value)


def component_sample(dictionary, component, value):
    if component == "":
        raise Rejected("invalid_label_value")
    value = number(value)
    at = iso_ms(dictionary.get("timestamp"))
    return sample(METRIC_DEFAULT, {"component": component, "source": SERVICE_LABEL}, value, at)


def number(value):
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Rejected("value_not_a_number")
    try:
        return float(value)
    except OverflowError:
        raise Rejected("value_not_a_number") from None


def label(value):
    """A label's value as text; none where the label is absent."""
    if isinstance(value, (list, dict)):
        raise Rejected("invalid_label_value")
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def text(value):
    """Halves of UTF-16 pairs are no characters."""
    return re.sub("[\ud800-\udfff]", "\ufffd", value)


def iso_ms(timestamp):
    if timestamp is None:
        return None
    try:
        at = datetime.datetime.fromisoformat(timestamp)
    except (TypeError, ValueError):
        raise Rejected("invalid_timestamp") from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.timezone.utc)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return plausible((at - epoch) // datetime.timedelta(milliseconds=1))


def plausible(at):
    """Whole milliseconds, if they are of these days; a NaN is of none."""
    if not EARLIEST_MS <= at < END_MS:
        raise Rejected("invalid_timestamp")
    return math.floor(at)


def sample(metric, labels, value, at):
    if not re.fullmatch("[a-zA-Z_:][a-zA-Z0-9_:]*", metric):
        raise Rejected("invalid_metric_name")
    for name in labels:
        if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__"):
            raise Rejected("invalid_label_name")
    if any(len(value.encode()) > 65536 for value in labels.values() if value):
        raise Rejected("label_too_long")
    return metric, {name: value for name, value in sorted(labels.items()) if value}, value, at


# --- The program. -------------------------------------------------------------------------------------------------


class Kept(logging.Handler):
    """Writes down what the module logs."""

    def __init__(self, into):
        super().__init__()
        self.into = into

    def emit(self, record):
        self.into.append([record.levelname, record.name, text(record.getMessage())])


def load(path):
    """The module, imported as the program imported it from its own folder, which also is the current one."""
    sys.path[0] = os.path.dirname(path)
    spec = importlib.util.spec_from_file_location("monitor_impl", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["monitor_impl"] = module
    spec.loader.exec_module(module)
    return module.get_power, module.process_data


def end_of(function, arguments):
    """Calls a function; one line that says how it ended."""
    try:
        function(*arguments)
        return "returned"
    except SystemExit as end:
        return f"SystemExit: {end.code}"
    except BaseException as error:
        traceback.print_exc()
        return text("".join(traceback.format_exception_only(error)).strip())


class Worker(threading.Thread):
    def __init__(self, *call):
        super().__init__(daemon=True, name=f"{call[0].__name__}_thread")
        self.call, self.end = call, None
        self.start()

    def run(self):
        self.end = end_of(self.call[0], self.call[1:])


def run_module(path, drained):
    """Calls `drained` with all that it puts, until its record `last` or until one of its functions ends; how both ended."""
    get_power, process_data = load(path)
    raw = queue.Queue(maxsize=int(os.environ.get("RAW_QUEUE_SIZE") or 1000))
    processed = queue.Queue(maxsize=int(os.environ.get("PROC_QUEUE_SIZE") or 1000))
    stop = threading.Event()
    getting = Worker(get_power, raw, float(os.environ.get("SCRAPE_INTERVAL_S") or 0.1), stop)
    processing = Worker(process_data, raw, processed, stop)

    deadline = time.monotonic() + LONGEST_S
    while getting.is_alive() and processing.is_alive():
        if time.monotonic() > deadline:
            os.write(2, b"the module neither sent `last` nor ended\n")
            os._exit(1)
        try:
            item = processed.get(timeout=0.05)
        except queue.Empty:
            continue
        drained(item)
        if is_last(item):
            break
    ends = {"get_power": getting.end, "process_data": processing.end}

    # What was read is processed, as far as there still is somebody who does.
    deadline = time.monotonic() + PROCESSING_S
    while processing.is_alive() and not raw.empty() and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    for worker, patience in zip((getting, processing), ENDING_S):
        worker.join(patience)
    while not processed.empty():
        drained(processed.get())
    return ends


def is_last(item):
    return any(isinstance(one, dict) and one.get("metric") == "last" for one in (item if isinstance(item, list) else [item]))


def judge(item, samples, rejected):
    """Adds what becomes of an item."""
    item = [coerced(one) for one in item] if isinstance(item, (list, tuple)) else coerced(item)
    for one in samples_of(plain(item)):
        if isinstance(one, str):
            rejected[one] = rejected.get(one, 0) + 1
        else:
            metric, labels, value, at = one
            samples.append([metric, labels, str(value), at])


def main(path, result_file):
    logs, samples, rejected, ends = [], [], {}, {}
    logging.basicConfig(level=(os.environ.get("LOG_LEVEL") or "INFO").upper())
    logging.getLogger().addHandler(Kept(logs))

    items = []
    ends["import"] = end_of(lambda: ends.update(run_module(os.path.abspath(path), items.append)), ())
    for item in items:
        judge(item, samples, rejected)
    with open(result_file, "w") as file:
        json.dump({"samples": samples, "rejected": rejected, "ends": ends, "logs": logs}, file)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the module's may still run, as they may under the program.
    os._exit(0)


# --- The check against docs/records.md. ---------------------------------------------------------------------------

# What can't be told to Python as text of JSON, or is about text and no dictionary at all.
NOT_PYTHON = re.compile("…|<byte|typed:|no bytes|breaks off|broken JSON|two documents|a label twice|a number beyond doubles")


def check(document):
    global METRIC_DEFAULT, SERVICE_LABEL
    METRIC_DEFAULT, SERVICE_LABEL = "default_metric", "svc"
    checked = 0
    for line in open(document):
        cells = re.fullmatch(r"\| (.+?) \| `(.+)` \| (.+?) \| (.*?) \|", line.strip())
        if not cells or NOT_PYTHON.search(f"{cells[1]} {cells[2]}"):
            continue
        expected = [cell.strip("`") for cell in cells[4].split("<br>") if cell]
        given = [shown(one) for one in samples_of(plain(json.loads(cells[2])))]
        if given != [same_value(one) for one in expected]:
            sys.exit(f"{cells[1]}: {given}, where {document} has {expected}")
        checked += 1
    print(checked, "cases")


def shown(one):
    if isinstance(one, str):
        return one
    metric, labels, value, at = one
    labels = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items())
    return f"{metric}{{{labels}}} {value} {'now' if at is None else at}"


def same_value(expected):
    """The expected sample with its value as Python writes it."""
    parts = re.fullmatch(r"(.*\}) (\S+) (\S+)", expected)
    return f"{parts[1]} {float(parts[2])} {parts[3]}" if parts else expected


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(sys.argv[2])
    else:
        main(*sys.argv[1:])
