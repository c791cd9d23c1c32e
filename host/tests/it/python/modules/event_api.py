"""What the event answers before and after the module itself sets it."""
import queue
import time


def get_power(output_queue, scrape_interval_s, stop_event):
    output_queue.put(("is_set", stop_event.is_set()))
    output_queue.put(("wait_zero", stop_event.wait(0)))
    start = time.monotonic()
    output_queue.put(("wait", stop_event.wait(timeout=0.1)))
    output_queue.put(("wait_waits", 0.1 <= time.monotonic() - start < 5))
    output_queue.put(("wait_negative", stop_event.wait(-1)))
    output_queue.put(("interval", scrape_interval_s))
    output_queue.put(("interval_is_float", isinstance(scrape_interval_s, float)))
    output_queue.put(("last", 1))
    ticks = 0
    while not stop_event.wait(scrape_interval_s):
        ticks += 1


def process_data(input_queue, output_queue, stop_event):
    while not stop_event.is_set():
        try:
            name, value = input_queue.get(timeout=0.2)
        except queue.Empty:
            continue
        output_queue.put({"metric": name, "value": value, "timestamp_ms": 1762678050123})
