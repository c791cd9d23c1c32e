"""A reading that the processor can't handle; what it sent before still arrives."""


def get_power(output_queue, scrape_interval_s, stop_event):
    for reading in ("1", "2", "3 W", "4"):
        output_queue.put(reading)
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    while not stop_event.is_set():
        number = float(input_queue.get())
        output_queue.put({"metric": "number", "value": number, "timestamp_ms": 1762678050123 + int(number)})
