"""A client of the kind that the Python program came with: pyJoules measures each interval, a handler makes a dictionary of
it, process_data makes records of that."""
import datetime
import logging
import os
import queue
import time

from pyJoules.energy_meter import measure_energy
from pyJoules.handler import EnergyHandler

log = logging.getLogger("cpu-pyjoules")

METRIC = os.environ.get("METRIC_DEFAULT", "pyjoules_remote_write_energy_uj")
SOURCE = os.environ.get("SERVICE_LABEL", "cpu-pyjoules")


class LastInterval(EnergyHandler):
    """Gives the one sample of the last interval as a dictionary, and forgets it."""

    def take(self):
        (sample,) = self._flaten_trace()
        self.traces = []
        now = datetime.datetime.utcnow().isoformat()
        return {"timestamp": now, "tag": sample.tag, "duration": sample.duration, **sample.energy}


def get_power(output_queue: queue.Queue, scrape_interval_s: float, stop_event):
    handler = LastInterval()
    log.info("measuring every %s s", scrape_interval_s)
    while not stop_event.is_set():

        @measure_energy(handler=handler)
        def interval():
            time.sleep(scrape_interval_s)

        interval()
        try:
            output_queue.put(handler.take(), timeout=1)
        except queue.Full:
            log.warning("the raw queue is full: an interval is lost")


def milliseconds(iso):
    moment = datetime.datetime.fromisoformat(iso)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp() * 1000)


def process_data(input_queue: queue.Queue, output_queue: queue.Queue, stop_event):
    log.info("processing")
    while not stop_event.is_set():
        try:
            reading = input_queue.get(timeout=1)
        except queue.Empty:
            continue
        at = milliseconds(reading.pop("timestamp"))
        batch = []
        for component, energy in reading.items():
            if component in ("tag", "duration"):
                continue
            labels = {"component": str(component), "source": SOURCE}
            batch.append({"metric": METRIC, "labels": labels, "value": float(energy), "timestamp_ms": at})
        try:
            output_queue.put(batch, timeout=1)
        except queue.Full:
            log.warning("the processed queue is full: a batch is lost")
