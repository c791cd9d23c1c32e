"""Logs in each of the ways that there are."""
import logging
import logging.handlers
import queue
import warnings

logging.info("at import, by the root logger")
logging.basicConfig(level=logging.ERROR, format="never %(message)s")
log = logging.getLogger("sensor")
child = logging.getLogger("sensor.channel")
child.addHandler(logging.NullHandler())
logging.addLevelName(25, "NOTICE")


def get_power(output_queue, scrape_interval_s, stop_event):
    log.debug("debug %s", "words")
    log.info("info with a brace {} and a percent %")
    log.warning("warning of %(watts)d W", {"watts": 7})
    log.error("error: %r", {"key": "välue"})
    log.critical("critical")
    log.log(25, "between info and warning")
    child.info("from a child")
    child.error("two\nlines")
    logging.warning("by the root logger")
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("could not divide")
    log.info("an object: %s", object)
    log.info("half of a pair: \udcff")
    quiet = logging.getLogger("quiet")
    quiet.setLevel(logging.ERROR)
    quiet.warning("must not be seen")
    own = logging.getLogger("own")
    own.propagate = False
    own.error("must not be seen either")
    output_queue.put({"metric": "last", "value": 1})
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    log.info("the other function")
    output_queue.put(input_queue.get())
    stop_event.wait()
