"""Readings that only live in their own process pass from one function to the other."""
import queue
import socket
import threading


class Sensor:
    def __init__(self, number):
        self.number = number
        self.lock = threading.Lock()

    def watts(self):
        with self.lock:
            return self.number * 1.5


def numbers():
    yield 3
    yield 4


def get_power(output_queue, scrape_interval_s, stop_event):
    left, right = socket.socketpair()
    left.sendall(b"five")
    for reading in (
        Sensor(1),
        lambda: 2,
        numbers(),
        right,
        threading.current_thread(),
        open(__file__),
        output_queue,
        None,
    ):
        output_queue.put(reading)
    del right, reading
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    def put(name, value):
        output_queue.put({"metric": name, "value": value, "timestamp_ms": 1762678050123})

    put("sensor", input_queue.get().watts())
    put("function", input_queue.get()())
    generator = input_queue.get()
    put("generator", next(generator) + next(generator))
    with input_queue.get() as peer:
        put("socket", len(peer.recv(16)))
    put("thread", input_queue.get().is_alive())
    with input_queue.get() as file:
        put("file", len(file.readline()))
    put("the_queue_itself", input_queue.get() is input_queue)
    put("none", input_queue.get() is None)
    put("last", 1)
    stop_event.wait()
