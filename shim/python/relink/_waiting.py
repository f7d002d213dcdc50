"""Waiting for Node on Python's main thread, where handlers of signals must go on running: Ctrl-C raises KeyboardInterrupt there."""

import contextlib
import os
import signal
import threading
import time

# A wait is cut in slices of this, in milliseconds, between which Python's handlers run.
_SLICE_MS = 100
_FOREVER_MS = 0xFFFFFFFF
# How long a script that keeps the main thread may go on after Ctrl-C, in seconds.
_PATIENCE = 0.3


def _on_main_thread():
    return threading.get_ident() == threading.main_thread().ident


def slices(timeout):
    """How long to wait each time, in milliseconds, until so many seconds are over; once in full where no handler runs."""
    left = None if timeout is None else max(0, min(_FOREVER_MS - 1, round(timeout * 1000)))
    if not _on_main_thread():
        yield _FOREVER_MS if left is None else left
        return
    end = None if left is None else time.monotonic() + left / 1000
    yield _SLICE_MS if left is None else min(_SLICE_MS, left)
    while True:
        if end is None:
            yield _SLICE_MS
            continue
        left = round((end - time.monotonic()) * 1000)
        if left <= 0:
            return
        yield min(_SLICE_MS, left)


class _Watch:
    """A thread that Python's handler of signals wakes, and that ends a guest whose script keeps the main thread after Ctrl-C."""

    def __init__(self):
        self.process = os.getpid()
        self.entered = None
        self._before = -1
        self._reads, self.writes = os.pipe()
        os.set_blocking(self.writes, False)
        threading.Thread(target=self._look, name="relink-signals", daemon=True).start()

    def enter(self, library, handle):
        try:
            self._before = signal.set_wakeup_fd(self.writes, warn_on_full_buffer=False)
        except ValueError:  # another interpreter than the main one, where no handlers run
            return
        self.entered = (library, handle)

    def leave(self):
        if self.entered is not None:
            self.entered = None
            signal.set_wakeup_fd(self._before)

    def _look(self):
        while True:
            numbers = os.read(self._reads, 64)
            before, entered = self._before, self.entered
            if before != -1:
                # It is another one's, who wants to be woken as well.
                with contextlib.suppress(OSError):
                    os.write(before, numbers)
            if signal.SIGINT not in numbers or entered is None:
                continue
            end = time.monotonic() + _PATIENCE
            while self.entered is entered and time.monotonic() < end:
                time.sleep(0.01)
            # The same entry: no slice, nor a function of Python's that was called, has let the handler run.
            if self.entered is entered and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                library, handle = entered
                library.relink_stop(handle, 0)


_watch = None


class _Nothing:
    def __enter__(self):
        return None

    def __exit__(self, *_):
        return None


class _Entered:
    def __init__(self, library, handle):
        self._to = (library, handle)

    def __enter__(self):
        _watch.enter(*self._to)

    def __exit__(self, *_):
        _watch.leave()


_NOTHING = _Nothing()


def interruptible(library, handle, ticked):
    """While a ticked guest may keep the main thread: Ctrl-C ends it if it does not come back."""
    global _watch
    if not ticked or not _on_main_thread() or (_watch is not None and _watch.entered is not None):
        return _NOTHING
    if _watch is None or _watch.process != os.getpid():
        _watch = _Watch()
    return _Entered(library, handle)
