"""A V8 for a process that has none.

    relink.v8.start("/usr/lib/x86_64-linux-gnu/libnode.so.108")

Loads a shared library with a V8 and initialises it, as a program that embeds V8 does: a platform, V8, and one isolate, which is
never used. It stays for the process's life. Only functions are called that the library exports; one number of V8's is known here.
"""

import ctypes
import re
import threading
from ctypes import byref, c_char_p, c_int, c_void_p

# Where v8::Isolate::CreateParams has `array_buffer_allocator` (src/abi/catalogue/profiles), by V8's version.
_ALLOCATOR = {(10, 2): 88, (11, 3): 88, (12, 4): 88, (13, 6): 88}
# More than CreateParams has in any version.
_ROOM = 4096

_lock = threading.Lock()
_started = None


def _exported(library, name, result=None):
    try:
        function = library[name]
    except AttributeError:
        raise OSError(f"{library._name}: no V8, for {name} is not exported") from None
    function.restype = result
    return function


def _offset(library):
    version = _exported(library, "_ZN2v82V810GetVersionEv", c_char_p)().decode()
    line = tuple(int(part) for part in re.match(r"(\d+)\.(\d+)", version).groups())
    if line not in _ALLOCATOR:
        known = ", ".join(f"{major}.{minor}" for major, minor in _ALLOCATOR)
        raise OSError(f"{library._name}: V8 {version}; only {known} can be started from here")
    return _ALLOCATOR[line], version


def _new_platform(library, threads):
    name = "_ZN2v88platform18NewDefaultPlatformEiNS0_15IdleTaskSupportENS0_21InProcessStackDumpingESt10unique_ptrINS_" \
           "17TracingControllerESt14default_deleteIS4_EE"
    # A parameter came with V8 12; a word more does no harm to the others.
    names = [name, name + "NS0_12PriorityModeE"]
    found = next((it for it in names if hasattr(library, it)), name)
    made, no_tracing = c_void_p(), c_void_p()
    _exported(library, found)(byref(made), c_int(threads), c_int(0), c_int(0), byref(no_tracing), c_int(0))
    return made


def start(path, threads=1):
    """Loads and initialises the V8 in `path`: its version. A second call does nothing; OSError if it cannot be done."""
    global _started
    with _lock:
        if _started is None:
            # Its names are not for other libraries, which may have a Node or V8 of their own.
            library = ctypes.CDLL(path, ctypes.RTLD_LOCAL)
            offset, version = _offset(library)
            current = "_ZN2v88internal2V818GetCurrentPlatformEv"
            # Newer ones do not export it, and end the process over a second platform.
            if hasattr(library, current) and _exported(library, current, c_void_p)():
                raise OSError(f"{path}: this V8 is initialised already")
            _exported(library, "_ZN2v82V818InitializePlatformEPNS_8PlatformE")(_new_platform(library, threads))
            if not _exported(library, "_ZN2v82V810InitializeEi", ctypes.c_bool)(c_int(0)):
                raise OSError(f"{path}: V8 could not be initialised")
            parameters = (ctypes.c_uint64 * (_ROOM // 8))()
            _exported(library, "_ZN2v87Isolate12CreateParamsC1Ev")(parameters)
            allocator = _exported(library, "_ZN2v811ArrayBuffer9Allocator19NewDefaultAllocatorEv", c_void_p)()
            parameters[offset // 8] = allocator
            isolate = _exported(library, "_ZN2v87Isolate3NewERKNS0_12CreateParamsE", c_void_p)(parameters)
            # Nothing of this is ever given back.
            _started = (version, library, parameters, isolate)
        return _started[0]
