"""What is done in Python itself: the interpreter is made ready, the module is loaded, a failure becomes one line.

Nothing here runs for an item.
"""

import atexit
import importlib.machinery
import importlib.util
import linecache
import logging
import os
import signal
import sys
import threading


class Unfit(Exception):
    """The module lacks something; the text says it all."""


class HostHandler(logging.Handler):
    """Takes what reaches the root logger to the host's log."""

    def __init__(self, write):
        super().__init__()
        self.write = write

    def emit(self, record):
        try:
            self.write(record.levelno, _text(record.name), _text(self.format(record)))
        except Exception:
            self.handleError(record)


def prepare(write, level):
    """Once for each interpreter, before any module is loaded."""
    # What is printed is not for the host's standard output, where a dry run prints its samples.
    sys.stdout = sys.__stdout__ = sys.stderr
    # The host writes no files, nor does what runs in it.
    sys.dont_write_bytecode = True
    root = logging.getLogger()
    root.addHandler(HostHandler(write))
    root.setLevel(level)
    original = signal.signal

    # A forked process has no host: signals end it, also one that comes before it could say so.
    blocked = threading.local()

    def before_fork():
        blocked.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])

    def after_fork():
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked.mask)

    def forked():
        original(signal.SIGTERM, signal.SIG_DFL)
        original(signal.SIGINT, signal.default_int_handler)
        signal.signal = original
        after_fork()

    os.register_at_fork(before=before_fork, after_in_parent=after_fork, after_in_child=forked)

    def leave_alone(signum, handler):
        if threading.current_thread() is not threading.main_thread():
            return original(signum, handler)
        write(logging.WARNING, "signal", f"signal.signal({signum!r}) is left out: the host handles signals")
        return signal.getsignal(signum)

    signal.signal = leave_alone


def load(path):
    """The module of this path, as `import` would load it, and its two functions."""
    folder, file = os.path.split(path)
    name = os.path.splitext(file)[0]
    sys.argv = [path]
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    loader = importlib.machinery.SourceFileLoader(name, path)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    functions = []
    for wanted in ("get_power", "process_data"):
        function = getattr(module, wanted, None)
        if not callable(function):
            raise Unfit(f"{path} has no function {wanted}")
        functions.append(function)
    return functions


def run(name, function, *arguments):
    """Calls a function as the program did, on a thread of Python's own, and waits for its end: from a thread that Python does
    not know no process can be forked, and it has no name."""
    ends = []

    def call():
        try:
            function(*arguments)
        except BaseException as error:
            ends.append(error)

    thread = threading.Thread(target=call, name=f"{name}_thread", daemon=True)
    thread.start()
    thread.join()
    if ends:
        raise ends.pop()


def _text(text):
    """Half of a UTF-16 pair, as Python reads a byte that is no UTF-8, is no text to anybody else."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def flush():
    """Before nobody flushes any more."""
    try:
        sys.stderr.flush()
    except Exception:
        pass


def finish():
    """What an interpreter does at its end, as far as a module may rely on it."""
    atexit._run_exitfuncs()
    flush()


def explain(error, traceback):
    """One line: what was raised, where, and why, the innermost call first."""
    error = error.with_traceback(traceback or error.__traceback__)
    lines, seen = [_one(error)], {id(error)}
    while True:
        if error.__cause__ is not None:
            error, why = error.__cause__, "caused by"
        elif error.__context__ is not None and not error.__suppress_context__:
            error, why = error.__context__, "while handling"
        else:
            return _text("; ".join(lines))
        if id(error) in seen or len(lines) == 5:
            return _text("; ".join(lines))
        seen.add(id(error))
        lines.append(f"{why} {_one(error)}")


def _one(error):
    if isinstance(error, SyntaxError) and error.filename:
        text = (error.text or "").strip()
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}" + (f": {text}" if text else "")
    if isinstance(error, Unfit):
        return str(error)
    if isinstance(error, SystemExit):
        said = f"sys.exit({'' if error.code is None else repr(error.code)})"
    else:
        try:
            said = str(error)
        except Exception:
            said = "<its text can't be made>"
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    places = _places(error.__traceback__)
    return f"{said} ({', called at '.join(places)})" if places else said


def _places(traceback):
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        # Neither this file nor importlib's own frames say anything to an author.
        if code.co_filename != __file__ and not code.co_filename.startswith("<frozen "):
            line = linecache.getline(code.co_filename, traceback.tb_lineno).strip()
            places.append(f"{code.co_filename}:{traceback.tb_lineno} in {code.co_name}" + (f": {line}" if line else ""))
        traceback = traceback.tb_next
    places.reverse()
    if len(places) > 12:
        places[8:-4] = [f"{len(places) - 12} more"]
    return places
