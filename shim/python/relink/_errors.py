"""What relink.h answers, as exceptions."""

import enum
import json
import re


class Answer(enum.IntEnum):
    """enum relink_answer"""

    OK = 0
    NOTHING = 1
    BUSY = 2
    TIMEOUT = 3
    REFUSED = 4
    STAYS = 5
    ARGUMENT = 6
    ENDED = 7
    THREW = 8
    UNKNOWN = 9
    WRONG_THREAD = 10
    INTERNAL = 11
    FORKED = 12


class Error(Exception):
    """Any answer but OK. `answer` is which (Answer). `code` is the code that docs/DIAGNOSTICS.md lists, as "E0301", if the reason has one."""

    answer = None
    code = None

    def __init__(self, why=""):
        super().__init__(why)
        found = re.match(r"E\d{4}\b", why)
        self.code = found and found.group()


class NothingThere(Error):
    """There is no such guest (any more)."""


class Busy(Error):
    """There is one already; or called from within a tick."""


class Timeout(Error, TimeoutError):
    """Not in time; what was asked for may still happen."""


class Refused(Error):
    """Node cannot be brought in. `report` is what was found, where a report was made."""

    report = None


class Stays(Error):
    """Node has ended, but something of it can never end: it stays loaded."""


class ArgumentError(Error, ValueError):
    """A text that is not UTF-8, a wrong option."""


class Ended(Error):
    """Node has ended, or is about to."""


class JavaScriptError(Error):
    """A script threw or rejected: `name`, `message`, `code` and `stack` are the error's."""

    def __init__(self, text):
        try:
            thrown = json.loads(text)
        except ValueError:
            thrown = {"message": text}
        self.name = thrown.get("name")
        self.message = thrown.get("message")
        self.code = thrown.get("code")
        self.stack = thrown.get("stack")
        Exception.__init__(self, f"{self.name}: {self.message}")


class UnknownFunction(Error, AttributeError):
    """No function of that name."""


class WrongThread(Error):
    """Not on this thread; or: the answer could never come while this thread waits for it."""


class InternalError(Error):
    """An error of Relink's own code."""


class Forked(Error):
    """This process was forked from the one that Node is in, and has none of its threads (E0211)."""


OK = Answer.OK
_KINDS = {
    Answer.NOTHING: NothingThere,
    Answer.BUSY: Busy,
    Answer.TIMEOUT: Timeout,
    Answer.REFUSED: Refused,
    Answer.STAYS: Stays,
    Answer.ARGUMENT: ArgumentError,
    Answer.ENDED: Ended,
    Answer.THREW: JavaScriptError,
    Answer.UNKNOWN: UnknownFunction,
    Answer.WRONG_THREAD: WrongThread,
    Answer.INTERNAL: InternalError,
    Answer.FORKED: Forked,
}


def exception(answer, why):
    """The exception for an answer that is not OK."""
    error = _KINDS.get(answer, InternalError)(why)
    error.answer = Answer(answer) if answer in _KINDS else answer
    return error
