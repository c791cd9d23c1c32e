"""More than either queue holds, as fast as it goes: who puts waits, and nothing is lost."""

COUNT = 5000


def get_power(output_queue, scrape_interval_s, stop_event):
    for number in range(COUNT):
        output_queue.put(number)
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    for number in range(COUNT):
        assert input_queue.get() == number
        output_queue.put({"metric": "number", "value": number, "timestamp_ms": 1762678050000 + number})
    output_queue.put({"metric": "last", "value": 1})
    stop_event.wait()
