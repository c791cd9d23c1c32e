"""Prints, in each of the ways that there are."""
import sys


def get_power(output_queue, scrape_interval_s, stop_event):
    print("printed", "words", 1.5)
    print("printed unflushed", end="")
    print(" and on", flush=True)
    print("printed to stderr", file=sys.stderr)
    sys.stdout.write("written to stdout\n")
    sys.stderr.write("written to stderr: é 😀\n")
    sys.stdout.flush()
    print("x" * 10000)
    assert isinstance(sys.stdout.isatty(), bool)
    output_queue.put({"metric": "last", "value": 1})
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    output_queue.put(input_queue.get())
    stop_event.wait()
