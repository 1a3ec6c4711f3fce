"""The end of the process without taking apart what it holds, which takes a process with TensorFlow a second."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """Ends the process with an exit code: handlers of `atexit` run, and standard streams are flushed.

    Memory is left to the system. If threads are running for whose end Python would wait, it ends in the usual way.
    """
    others = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    if others or threading.current_thread() is not threading.main_thread():
        sys.exit(code)
    logging.shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed by whoever started the process
            stream.flush()
    os._exit(code)
