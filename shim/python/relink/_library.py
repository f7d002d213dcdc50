"""librelink.so, and the types, constants and functions of relink.h (shim/include/relink.h): all of them, under the same names without
`relink_`. The tests of Relink compare both."""

import ctypes
import os
import threading
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_int, c_uint, c_ulonglong, c_void_p
from pathlib import Path

from ._errors import OK, exception

# What a callback gets and gives. CFUNCTYPE takes the GIL on whichever thread it is called.
DONE = CFUNCTYPE(None, c_void_p, c_int, c_char_p)
FUNCTION = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
CALLBACK = CFUNCTYPE(None, c_void_p, c_int)

OWN_THREAD, TICKED, SHARED = 0, 1, 2
STAY = 1
FILE, STRING, PACKAGE = 0, 1, 2

_LIST = POINTER(c_char_p)


class Options(ctypes.Structure):
    """relink_options"""

    _fields_ = [
        ("size", c_uint),
        ("mode", c_uint),
        ("guest", c_char_p),
        ("script", c_char_p),
        ("args", _LIST),
        ("node_args", _LIST),
        ("env", _LIST),
        ("cwd", c_char_p),
        ("disallow", _LIST),
        ("provider", c_char_p),
        ("report", c_char_p),
        ("max_heap_mib", c_uint),
        ("wait_ms", c_uint),
        ("flags", c_uint),
        ("reserved", c_uint),
        ("isolate", c_void_p),
        ("context", c_void_p),
        ("expose", c_char_p),
        ("script_deadline_ms", c_uint),
        ("stack_kib", c_uint),
    ]


# name: (result, arguments); a result of int is an answer, and any but OK is raised.
_TEXT_OUT = POINTER(c_void_p)
_FUNCTIONS = {
    "relink_version": (c_char_p, []),
    "relink_last_error": (c_char_p, []),
    "relink_free": (None, [c_void_p]),
    "relink_probe": (c_int, [POINTER(Options), _TEXT_OUT]),
    "relink_create": (c_int, [POINTER(Options), POINTER(c_void_p)]),
    "relink_run": (c_int, [c_void_p, c_int, c_char_p, c_char_p, c_uint, _TEXT_OUT]),
    "relink_call": (c_int, [c_void_p, c_char_p, c_char_p, c_uint, _TEXT_OUT]),
    "relink_call_async": (c_int, [c_void_p, c_char_p, c_char_p, DONE, c_void_p]),
    "relink_reply_set": (None, [c_void_p, c_char_p]),
    "relink_register": (c_int, [c_void_p, c_char_p, FUNCTION, c_void_p]),
    "relink_post": (c_int, [c_void_p, CALLBACK, c_void_p]),
    "relink_tick": (c_int, [c_void_p, c_ulonglong]),
    "relink_join": (c_int, [c_void_p, c_uint]),
    "relink_stop": (c_int, [c_void_p, c_uint]),
    "relink_disconnect": (c_int, [c_void_p, c_uint]),
    "relink_unanswered": (c_ulonglong, []),
    "relink_resume": (c_int, [c_void_p, c_ulonglong, c_uint, _TEXT_OUT]),
    "relink_forget": (c_int, [c_void_p, c_ulonglong]),
    "relink_report": (c_int, [c_void_p, _TEXT_OUT]),
    "relink_destroy": (c_int, [c_void_p, c_uint]),
    "relink_start": (c_int, [_LIST]),
    "relink_wait": (c_int, [c_uint]),
    "relink_unload": (c_int, [c_uint]),
}

_lock = threading.Lock()
_loaded = None


def _places(path):
    if path is not None:
        return [os.fspath(path)]
    named = os.environ.get("RELINK_LIBRARY")
    beside = Path(__file__).with_name("librelink.so")
    return [named] if named else [str(beside)] * beside.exists() + ["librelink.so"]


def load(path=None):
    """The library, loaded once: from `path`, RELINK_LIBRARY, beside this package, or where ld.so finds it."""
    global _loaded
    with _lock:
        if _loaded is None:
            places = _places(path)
            try:
                library = ctypes.CDLL(places[0])
            except OSError as error:
                raise OSError(f"{error}; name librelink.so by library= or RELINK_LIBRARY") from None
            for name, (result, arguments) in _FUNCTIONS.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
            _loaded = library
        return _loaded


def version(library=None):
    """The version of librelink.so."""
    return load(library).relink_version().decode()


def check(answer):
    """Raises what an answer means. To be called right after, on the same thread."""
    if answer != OK:
        raise exception(answer, _loaded.relink_last_error().decode())


def text(function, *arguments):
    """Calls a function that gives an answer and a text: both. The text is copied and given back to the library."""
    place = c_void_p()
    answer = function(*arguments, byref(place))
    why = _loaded.relink_last_error().decode() if answer != OK else ""
    try:
        return answer, why, ctypes.string_at(place).decode() if place.value else None
    finally:
        _loaded.relink_free(place)


def c_list(texts):
    """A vector of strings that ends with a null pointer; the caller keeps it alive."""
    if texts is None:
        return None
    encoded = [os.fsencode(it) for it in texts]
    return (c_char_p * (len(encoded) + 1))(*encoded, None)
