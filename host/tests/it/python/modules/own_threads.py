"""A module with threads of its own, which put into both queues."""
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

put_all = threading.Barrier(4)
local = threading.local()


def read(number, output_queue):
    local.number = number
    for second in range(10):
        output_queue.put((number, second))
    assert local.number == number
    put_all.wait()


def get_power(output_queue, scrape_interval_s, stop_event):
    for number in range(3):
        threading.Thread(target=read, args=(number, output_queue), daemon=True, name=f"reader-{number}").start()
    put_all.wait()
    output_queue.put(None)
    stop_event.wait()


def fail():
    raise ValueError("a thread of its own may fail alone")


def forever():
    while True:
        threading.Event().wait(0.01)


def process_data(input_queue, output_queue, stop_event):
    threading.Thread(target=forever, daemon=True).start()
    failing = threading.Thread(target=fail)
    failing.start()
    failing.join()

    def put(reading):
        number, second = reading
        record = {"metric": "watts", "labels": {"sensor": str(number)}, "value": number * 100 + second}
        output_queue.put(record | {"timestamp_ms": 1762678050000 + second * 1000})

    readings = []
    while (reading := input_queue.get()) is not None:
        readings.append(reading)
    # By sensor, so that each series is put in its order, by whichever thread.
    with ThreadPoolExecutor(3) as pool:
        for number in range(3):
            pool.submit(lambda own: [put(one) for one in own], [one for one in readings if one[0] == number]).result()
    names = {thread.name for thread in threading.enumerate()}
    output_queue.put({"metric": "named", "value": {"get_power_thread", "process_data_thread"} <= names})
    output_queue.put({"metric": "last", "value": 1})
    stop_event.wait()
