"""A guest, and what can be called in it."""

import atexit
import ctypes
import itertools
import json
import os
import time
from concurrent.futures import Future, InvalidStateError
from ctypes import byref, c_void_p, sizeof

from . import _library as lib
from ._errors import OK, Answer, Refused, exception
from ._waiting import interruptible, slices

# For callers that name no time: a call ends when it ends, or with Node.
_FOREVER_MS = 0xFFFFFFFF


def _milliseconds(seconds):
    return _FOREVER_MS if seconds is None else max(0, min(_FOREVER_MS, round(seconds * 1000)))


def _encoded(it):
    return None if it is None else os.fsencode(it)


def _options(guest, *, ticked=False, script=None, args=None, node_args=None, env=None, cwd=None, disallow=None, provider=None,
             report=None, max_heap_mib=0, wait=10.0, stay=False, script_deadline=0.0, stack_kib=0):
    lists = {
        "args": args,
        "node_args": node_args,
        "env": None if env is None else [f"{name}={value}" for name, value in env.items()],
        "disallow": disallow,
    }
    texts = {"guest": guest, "script": script, "cwd": cwd, "provider": provider, "report": report}
    made = lib.Options(size=sizeof(lib.Options), mode=lib.TICKED if ticked else lib.OWN_THREAD, max_heap_mib=max_heap_mib,
                       wait_ms=_milliseconds(wait), flags=lib.STAY if stay else 0,
                       script_deadline_ms=_milliseconds(script_deadline), stack_kib=stack_kib)
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


# Those that were created and not destroyed: what scripts can call must live as long as they.
_live = {}


def _leave():
    """Python ends: Node ends before it, and nothing of Python's is called any more. All of it takes less than 0.2 s."""
    process = os.getpid()
    # Those of a process that was forked are the parent's.
    live = [runtime for runtime in list(_live.values()) if runtime._process == process]
    for runtime in live:
        runtime._library.relink_stop(runtime._handle, 0)
    deadline = time.monotonic() + 0.15
    for runtime in live:
        runtime._disconnect(max(0.0, deadline - time.monotonic()))


# Before Py_FinalizeEx() takes the GIL away for good. What a program registers later runs earlier, and still finds Node.
atexit.register(_leave)


def _settle(future, how, it):
    """Nobody waits any more for a future that was cancelled."""
    try:
        getattr(future, how)(it)
    except InvalidStateError:
        pass


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
    those of relink_options, times in seconds. As a context manager it is destroyed at the end. It lives until it is destroyed, also when
    nothing refers to it; when Python ends, it ends before. In a forked child every method raises Forked.
    """

    def __init__(self, guest, *, library=None, **options):
        self._library = lib.load(library)
        self._process = os.getpid()
        self._ticked = bool(options.get("ticked"))
        self._functions = {}
        self._pending = {}
        self._numbers = itertools.count(1)
        # What is to be raised further out: a script would swallow KeyboardInterrupt and SystemExit.
        self._raised = None
        # One C function each for all calls: what ends last must find them there.
        self._done = lib.DONE(self._settled)
        self._posted = lib.CALLBACK(self._run_posted)
        handle = c_void_p()
        lib.check(self._library.relink_create(byref(_options(guest, **options)), byref(handle)))
        self._handle = handle
        _live[handle.value] = self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A forked child leaves the block as if there were no Node.
        if self._process == os.getpid():
            self.destroy()

    def _wait(self, function, *arguments, timeout):
        """Waits for a call in slices, so that Python's handlers of signals run meanwhile: the answer, why, and the text."""
        call, first = 0, True
        try:
            for slice_ms in slices(timeout):
                with interruptible(self._library, self._handle, self._ticked):
                    if first:
                        told = lib.text(function, self._handle, *arguments, slice_ms)
                    else:
                        told = lib.text(self._library.relink_resume, self._handle, call, slice_ms)
                self._raise()
                if told[0] != Answer.TIMEOUT:
                    call = 0
                    return told
                if first:
                    first, call = False, self._library.relink_unanswered()
            return Answer.TIMEOUT, f"no answer within {_milliseconds(timeout)} ms", None
        finally:
            if call:
                self._library.relink_forget(self._handle, call)

    def _raise(self):
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised

    def _repeat(self, function, handle, timeout):
        """The same for what can be called again until it is done: the answer."""
        for slice_ms in slices(timeout):
            with interruptible(self._library, self._handle, self._ticked):
                answer = function(handle, slice_ms)
            self._raise()
            if answer != Answer.TIMEOUT:
                break
        return answer

    # --- scripts

    def _run(self, kind, what, name, timeout):
        name = name.encode()
        answer, why, described = self._wait(self._library.relink_run, kind, what, name, timeout=timeout)
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
        answer, why, result = self._wait(self._library.relink_call, function, args, timeout=timeout)
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
        number = next(self._numbers)
        self._pending[number] = future
        return future, number

    def _unless(self, answer, number):
        if answer != OK:
            self._pending.pop(number, None)
            lib.check(answer)

    def _settled(self, number, answer, result):
        future = self._pending.pop(number, None)
        if future is None:
            return
        text = result.decode()
        if answer == OK:
            _settle(future, "set_result", json.loads(text))
        else:
            _settle(future, "set_exception", exception(answer, text))

    def _run_posted(self, number, run):
        future = self._pending.pop(number, None)
        if future is None:
            return
        if not run:
            return _settle(future, "set_exception", exception(Answer.ENDED, "Node has ended"))
        try:
            result = future.function()
        except BaseException as error:  # whoever waits for it gets it
            return _settle(future, "set_exception", error)
        _settle(future, "set_result", result)

    # --- functions for scripts

    def register(self, name, function=None):
        """Lets scripts call relink.host.NAME(...); also a decorator. What the function raises is thrown there."""
        if function is None:
            return lambda it: self.register(name, it)

        def called(_, args, reply):
            try:
                answer, result = 0, json.dumps(function(*json.loads(args)))
            except BaseException as error:  # thrown in the script instead
                answer, result = 1, f"{type(error).__name__}: {error}"
                if self._ticked and not isinstance(error, Exception):
                    self._raised = error
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
        with interruptible(self._library, self._handle, self._ticked):
            answer = self._library.relink_tick(self._handle, max(0, round(budget * 1e6)))
        self._raise()
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
        lib.check(self._repeat(self._library.relink_join, self._handle, timeout))

    def stop(self, timeout=10.0):
        """Ends Node, whatever it is doing."""
        lib.check(self._repeat(self._library.relink_stop, self._handle, timeout))

    def _disconnect(self, timeout):
        """Ends Node, and sees to it that nothing of Python's is called any more."""
        self._library.relink_disconnect(self._handle, _milliseconds(timeout))
        while self._pending:
            _, future = self._pending.popitem()
            _settle(future, "set_exception", exception(Answer.ENDED, "Python ends"))

    def destroy(self, timeout=10.0):
        """Takes the guest out of the process; nothing if it is out already."""
        handle = self._handle
        if not handle.value:
            return
        answer = self._repeat(self._library.relink_destroy, handle, timeout)
        if answer in (OK, Answer.STAYS, Answer.NOTHING):
            self._handle = c_void_p()
            # Nothing of the guest's can call Python any more.
            _live.pop(handle.value, None)
            self._functions.clear()
        lib.check(answer)
