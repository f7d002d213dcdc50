"""What relink.h answers, as exceptions."""

import json


class Error(Exception):
    """Any answer but OK. `answer` is its number in relink.h."""

    answer = None


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
        super().__init__(f"{self.name}: {self.message}")


class UnknownFunction(Error, AttributeError):
    """No function of that name."""


class WrongThread(Error):
    """Not on this thread; or: the answer could never come while this thread waits for it."""


class InternalError(Error):
    """An error of Relink's own code."""


class Forked(Error):
    """This process was forked from the one that Node is in, and has none of its threads (E0211)."""


# enum relink_answer
OK = 0
NOTHING = 1
BUSY = 2
TIMEOUT = 3
STAYS = 5
ENDED = 7
THREW = 8
WRONG_THREAD = 10
FORKED = 12
_KINDS = {
    1: NothingThere,
    2: Busy,
    3: Timeout,
    4: Refused,
    5: Stays,
    6: ArgumentError,
    7: Ended,
    8: JavaScriptError,
    9: UnknownFunction,
    10: WrongThread,
    11: InternalError,
    12: Forked,
}


def exception(answer, why):
    """The exception for an answer that is not OK."""
    error = _KINDS.get(answer, InternalError)(why)
    error.answer = answer
    return error
