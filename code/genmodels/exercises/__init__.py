"""Feedback on the exercises of the chapters.

`check(name, answer)` prints one of: right; not yet, with what was tested, what came out and what is
wrong with it; still the stub. It never raises. An answer may be written in NumPy, PyTorch,
TensorFlow or Keras, in float32 or float64.

Which exercises there are stands in `registry`; the tests of their answers in `chapters`, a module
for each chapter; what those compare with in `compare`. `grade` grades whole notebooks.
"""

import _thread
import contextlib
import difflib
import dis
import inspect
import signal
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from genmodels.exercises.chapters import find
from genmodels.exercises.compare import first_line
from genmodels.exercises.registry import CHAPTER_OF, Exercise

__all__ = ["Feedback", "check", "evaluate", "judge", "time_limit"]

TIME_LIMIT = 10.0  # seconds that testing an answer may take


@dataclass(frozen=True)
class Feedback:
    """What `evaluate` says of an answer."""

    status: str  # "right", "not yet", "stub", "error" or "time-out"
    text: str


def check(name: str, *answers: Any) -> None:
    """Print whether the answers to an exercise are right and, if not, what is wrong."""
    # Wrapped here, since notebooks break long lines of output inside words.
    print(textwrap.fill(evaluate(name, *answers).text, 80, break_long_words=False,
                        break_on_hyphens=False))


def evaluate(name: str, *answers: Any, limit: float | None = None) -> Feedback:
    """Return the feedback on the answers to an exercise; no answer makes it raise.

    `limit` is in seconds, `TIME_LIMIT` if it is not given.
    """
    task = find(name) if isinstance(name, str) else None
    if task is None:
        near = difflib.get_close_matches(str(name), CHAPTER_OF, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return Feedback("error", f"Not yet: there is no exercise named {name!r}.{hint}")
    return judge(task, answers, TIME_LIMIT if limit is None else limit)


def judge(task: Exercise, answers: tuple, limit: float) -> Feedback:
    """Return the feedback on the answers to an exercise; `limit` is in seconds."""
    arguments = len(inspect.signature(task.test).parameters)
    if len(answers) != arguments:
        return Feedback("error", f"Not yet: check({task.name!r}, …) needs {arguments} answer"
                        f"{'s' * (arguments != 1)} after the name, got {len(answers)}.")
    if any(is_stub(answer) for answer in answers):
        return Feedback("stub", "Still the stub: replace the `...`, run the cell again, then this "
                        "one.")
    try:
        with np.errstate(all="ignore"), time_limit(limit) as expired:
            task.test(*answers)
    except KeyboardInterrupt:
        if not expired.is_set():
            raise
        return Feedback("time-out", f"Not yet: your answer was stopped after {limit:.0f} seconds. "
                        "Is there a loop that never ends, or one that arrays would avoid?")
    except (Exception, SystemExit) as problem:
        # `NotYet` is known by its status: after a reload of `compare` there are two classes of it.
        status = getattr(problem, "status", None)
        if status == "stub":
            return Feedback("stub", "Still the stub: there is a `...` left in your answer.")
        if status in ("not yet", "error"):
            return Feedback(status, f"Not yet: {problem}")
        # an answer of a kind that the test did not expect
        return Feedback("error", f"Not yet: your answer cannot be used here "
                        f"({type(problem).__name__}: {first_line(problem)}).")
    return Feedback("right", f"Right. {task.right}")


def is_stub(answer: Any) -> bool:
    """Return whether an answer is `...`, or a function or class with nothing else in it."""
    if answer is ...:
        return True
    if inspect.isclass(answer):
        return any(is_stub(method) for method in vars(answer).values()
                   if inspect.isfunction(method))
    if not inspect.isfunction(answer):
        return False
    code = answer.__code__
    idle = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "COPY_FREE_VARS"}
    if any(step.opname not in idle for step in dis.get_instructions(code)):
        return False
    returned = [step.argval for step in dis.get_instructions(code)
                if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    return all(value is None or value is ... for value in returned)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[threading.Event]:
    """Raise KeyboardInterrupt in the main thread after some seconds; the event says that we did.

    Works between two Python operations, not inside one long call of a compiled library. An answer
    that catches the exception gets it again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield threading.Event()
        return
    finished, expired, lock = threading.Event(), threading.Event(), threading.Lock()
    handler = signal.getsignal(signal.SIGINT)
    ignored = handler in (signal.SIG_IGN, signal.SIG_DFL)  # as in a process in the background
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def watch() -> None:
        wait = seconds
        while not finished.wait(wait):
            with lock:
                if finished.is_set():
                    return
                expired.set()
                _thread.interrupt_main()
            wait = 0.5

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield expired
    finally:
        with lock:
            finished.set()
        if ignored:
            signal.signal(signal.SIGINT, handler)
