"""Process-wide state: signal handlers, the hook for errors of threads, standard streams, settings of malloc.

In reading order: `interruption` (stops the main thread from any thread, or by a signal), `threads` (which errors
of threads are reported), `output` (standard streams that never end a command), `memory` (whether freed memory is kept),
`imports` (of large packages, without the collector), `tensorflow` (its quiet import), `leaving` (the end of the
process). Nothing else in this project sets a signal handler or replaces such a hook.
"""

from transforms.process.imports import keep_objects, lean_imports
from transforms.process.interruption import Interrupted, Interruption, ending_by_signals, interruptible
from transforms.process.leaving import leave
from transforms.process.memory import keep_freed, return_freed, trim
from transforms.process.output import steady_output
from transforms.process.tensorflow import import_tensorflow
from transforms.process.threads import descendants, end_processes, thread_errors

__all__ = [
    "Interrupted",
    "Interruption",
    "descendants",
    "end_processes",
    "ending_by_signals",
    "import_tensorflow",
    "interruptible",
    "keep_freed",
    "keep_objects",
    "lean_imports",
    "leave",
    "return_freed",
    "steady_output",
    "thread_errors",
    "trim",
]
