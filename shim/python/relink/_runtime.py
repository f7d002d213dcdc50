"""A guest, and what can be called in it."""

import ctypes
import json
import os
import threading
from concurrent.futures import Future
from ctypes import byref, c_void_p, sizeof

from . import _library as lib
from ._errors import OK, Answer, Refused, exception

# For callers that name no time: a call ends when it ends, or with Node.
_FOREVER_MS = 0xFFFFFFFF


def _milliseconds(seconds):
    return _FOREVER_MS if seconds is None else max(0, min(_FOREVER_MS, round(seconds * 1000)))


def _encoded(it):
    return None if it is None else os.fsencode(it)


def _options(guest, *, ticked=False, script=None, args=None, node_args=None, env=None, cwd=None, disallow=None, provider=None,
             report=None, max_heap_mib=0, wait=10.0, stay=False, script_deadline=0.0):
    lists = {
        "args": args,
        "node_args": node_args,
        "env": None if env is None else [f"{name}={value}" for name, value in env.items()],
        "disallow": disallow,
    }
    texts = {"guest": guest, "script": script, "cwd": cwd, "provider": provider, "report": report}
    made = lib.Options(size=sizeof(lib.Options), mode=lib.TICKED if ticked else lib.OWN_THREAD, max_heap_mib=max_heap_mib,
                       wait_ms=_milliseconds(wait), flags=lib.STAY if stay else 0,
                       script_deadline_ms=_milliseconds(script_deadline))
    for name, it in texts.items():
        setattr(made, name, _encoded(it))
    made.kept = {name: lib.c_list(it) for name, it in lists.items()}
    for name, it in made.kept.items():
        if it is not None:
            setattr(made, name, ctypes.cast(it, ctypes.POINTER(ctypes.c_char_p)))
    return made


def probe(guest, *, library=None, **options):
    """Says whether Node could be brought in, changing nothing: the report (a dict), or Refused with it as `report`."""
    library = lib.load(library)
    answer, why, report = lib.text(library.relink_probe, byref(_options(guest, **options)))
    report = json.loads(report) if report else None
    if answer == OK:
        return report
    error = exception(answer, why)
    if isinstance(error, Refused):
        error.report = report
    raise error


class Script:
    """What a script exports; its functions are attributes."""

    def __init__(self, runtime, name, exports):
        self._runtime, self._name = runtime, name
        self.exports = exports

    def __call__(self, *args):
        return self._runtime.call(self._name, *args)

    def __getattr__(self, member):
        if member.startswith("__"):
            raise AttributeError(member)
        return lambda *args: self._runtime.call(f"{self._name}.{member}", *args)


class Runtime:
    """A guest: Node on this process's V8. Several run side by side (docs/EMBEDDING.md).

    guest: the libnode to bring in. ticked: Node runs on the thread that creates it, while that calls tick(). The other options are
    those of relink_options, times in seconds. As a context manager it is destroyed at the end.
    """

    def __init__(self, guest, *, library=None, **options):
        self._library = lib.load(library)
        self._lock = threading.Lock()
        self._functions = {}
        self._pending = {}
        self._last = 0
        # One C function each for all calls: what ends last must find them there.
        self._done = lib.DONE(self._settled)
        self._posted = lib.CALLBACK(self._run_posted)
        handle = c_void_p()
        lib.check(self._library.relink_create(byref(_options(guest, **options)), byref(handle)))
        self._handle = handle

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.destroy()

    # --- scripts

    def _run(self, kind, what, name, timeout):
        name = name.encode()
        answer, why, described = lib.text(self._library.relink_run, self._handle, kind, what, name, _milliseconds(timeout))
        if answer != OK:
            raise exception(answer, why)
        return Script(self, name.decode(), json.loads(described))

    def run_file(self, path, name, *, timeout=None):
        """Loads a script, CommonJS or ES module; its exports can be called as "name.function" from then on."""
        return self._run(lib.FILE, os.fsencode(os.path.abspath(path)), name, timeout)

    def run_string(self, source, name, *, timeout=None):
        """Loads the source of a CommonJS module."""
        return self._run(lib.STRING, source.encode(), name, timeout)

    def require(self, package, name=None, *, timeout=None):
        """Loads a package or built-in module."""
        return self._run(lib.PACKAGE, package.encode(), name or package, timeout)

    # --- calls

    def call(self, function, *args, timeout=None):
        """Calls "name.function" of a script, or of the global object, and waits for what it returns or its promise becomes."""
        function, args = function.encode(), json.dumps(args).encode()
        answer, why, result = lib.text(self._library.relink_call, self._handle, function, args, _milliseconds(timeout))
        if answer != OK:
            raise exception(answer, why)
        return json.loads(result)

    def call_async(self, function, *args):
        """The same without waiting: a concurrent.futures.Future (for asyncio: asyncio.wrap_future)."""
        future, number = self._pend(Future())
        answer = self._library.relink_call_async(self._handle, function.encode(), json.dumps(args).encode(), self._done, number)
        self._unless(answer, number)
        return future

    def post(self, function):
        """Has a function called on Node's thread: a Future of what it returns."""
        future, number = self._pend(Future())
        future.function = function
        self._unless(self._library.relink_post(self._handle, self._posted, number), number)
        return future

    def _pend(self, future):
        with self._lock:
            self._last += 1
            self._pending[self._last] = future
            return future, self._last

    def _unless(self, answer, number):
        if answer != OK:
            self._pending.pop(number, None)
            lib.check(answer)

    def _settled(self, number, answer, result):
        future = self._pending.pop(number)
        text = result.decode()
        if answer == OK:
            future.set_result(json.loads(text))
        else:
            future.set_exception(exception(answer, text))

    def _run_posted(self, number, run):
        future = self._pending.pop(number)
        if not run:
            return future.set_exception(exception(Answer.ENDED, "Node has ended"))
        try:
            future.set_result(future.function())
        except BaseException as error:  # whoever waits for it gets it
            future.set_exception(error)

    # --- functions for scripts

    def register(self, name, function=None):
        """Lets scripts call relink.host.NAME(...); also a decorator. What the function raises is thrown there."""
        if function is None:
            return lambda it: self.register(name, it)

        def called(_, args, reply):
            try:
                answer, result = 0, json.dumps(function(*json.loads(args)))
            except Exception as error:  # thrown in the script instead
                answer, result = 1, f"{type(error).__name__}: {error}"
            self._library.relink_reply_set(reply, result.encode())
            return answer

        made = lib.FUNCTION(called)
        lib.check(self._library.relink_register(self._handle, name.encode(), made, None))
        # Those that a script may be in stay alive as long as the guest.
        self._functions.setdefault(name, []).append(made)
        return function

    def unregister(self, name):
        """Takes a function away again."""
        lib.check(self._library.relink_register(self._handle, name.encode(), lib.FUNCTION(), None))

    # --- life

    def tick(self, budget=0.001):
        """Does what is due in a ticked guest: False when Node has ended."""
        answer = self._library.relink_tick(self._handle, max(0, round(budget * 1e6)))
        if answer == Answer.ENDED:
            return False
        lib.check(answer)
        return True

    def report(self):
        """The report so far."""
        answer, why, report = lib.text(self._library.relink_report, self._handle)
        if answer != OK:
            raise exception(answer, why)
        return json.loads(report)

    def join(self, timeout=None):
        """Waits until Node has ended by itself."""
        lib.check(self._library.relink_join(self._handle, _milliseconds(timeout)))

    def stop(self, timeout=10.0):
        """Ends Node, whatever it is doing."""
        lib.check(self._library.relink_stop(self._handle, _milliseconds(timeout)))

    def destroy(self, timeout=10.0):
        """Takes the guest out of the process; nothing if it is out already."""
        handle, self._handle = self._handle, c_void_p()
        if not handle.value:
            return
        answer = self._library.relink_destroy(handle, _milliseconds(timeout))
        if answer in (Answer.TIMEOUT, Answer.BUSY, Answer.WRONG_THREAD):
            # It is still there.
            self._handle = handle
        lib.check(answer)
        # Nothing of the guest's can call them any more.
        self._functions.clear()
