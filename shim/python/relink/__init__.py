"""Node.js on the V8 that this process already has, through relink.h.

    import relink
    with relink.Runtime(guest="/opt/relink/libnode-relink.so.108") as node:
        script = node.run_string("exports.add = (a, b) => a + b;", "script")
        print(script.add(20, 22))

Values cross as JSON. Strings and results belong to Python: nothing has to be released. Every call lets other Python threads run
while it waits; Python functions that scripts call run on Node's thread, with the GIL. docs/EMBEDDING.md has the rules.
"""

from . import v8
from ._errors import (
    Answer,
    ArgumentError,
    Busy,
    Ended,
    Error,
    Forked,
    InternalError,
    JavaScriptError,
    NothingThere,
    Refused,
    Stays,
    Timeout,
    UnknownFunction,
    WrongThread,
)
from ._library import version
from ._runtime import Runtime, Script, probe

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "ArgumentError",
    "Busy",
    "Ended",
    "Error",
    "Forked",
    "InternalError",
    "JavaScriptError",
    "NothingThere",
    "Refused",
    "Runtime",
    "Script",
    "Stays",
    "Timeout",
    "UnknownFunction",
    "WrongThread",
    "probe",
    "v8",
    "version",
]
