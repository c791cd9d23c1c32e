"""Processes that a module starts and ends: by fork, by spawn, by exec."""
import multiprocessing
import os
import subprocess
import time


def forever():
    while True:
        time.sleep(1)


def get_power(output_queue, scrape_interval_s, stop_event):
    for method in ("fork", "spawn"):
        process = multiprocessing.get_context(method).Process(target=forever)
        process.start()
        process.terminate()
        process.join(20)
        output_queue.put((f"terminated_{method}", process.exitcode or 0))
        process.kill()
    program = subprocess.Popen(["sleep", "60"])
    program.terminate()
    try:
        output_queue.put(("terminated_program", program.wait(20)))
    except subprocess.TimeoutExpired:
        program.kill()
    child = os.fork()
    if child == 0:
        os._exit(7)
    output_queue.put(("forked", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
    # A background job of a script ignores SIGINT, and so would a test that it runs.
    with subprocess.Popen(["env", "--default-signal=INT", "sh", "-c", "kill -INT $$; exit 3"]) as shell:
        output_queue.put(("interrupted", shell.wait()))
    output_queue.put(("last", 1))
    stop_event.wait()


def process_data(input_queue, output_queue, stop_event):
    while (reading := input_queue.get())[0] != "last":
        output_queue.put({"metric": reading[0], "value": reading[1]})
    output_queue.put({"metric": "last", "value": 1})
    stop_event.wait()
