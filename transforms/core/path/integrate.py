"""Packs the steps of many paths into full batches of one fixed size.

Continuous batching: a path enters when there is room for its steps and leaves when its rule is
done, so that every batch is full until the last paths. `in_flight` batches run at once, each in a
thread of its own, and one more waits, so that no thread idles while results are absorbed. These are
absorbed in the order of submission: which steps share a batch depends on nothing but the paths and
their order, so the same paths give the same bits. (Unless a device runs out of memory, in this call or any
other: then the batch shrinks, and batches of the size before that are not done are taken apart again.)

    paths ─→ resident (a rule's state each) ─→ steps ─→ batch ─→ sums per block ─→ resident
                                                                      └→ integral, when done
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from transforms.core.model.batch_size import StepLadder
from transforms.core.model.step import CompiledStep
from transforms.core.model.step_batch import StepBatch, StepResult
from transforms.core.path.rule import MIDDLE, Block, PathRule, PathState

K = TypeVar("K")
OnBatch = Callable[[int, float], None]


@dataclass(frozen=True)
class Path(Generic[K]):
    """A straight path from a baseline to an image, for one class.

    Attributes:
        key: the caller's name for the path; comes back with its integral.
        start: the baseline in path space, as `CompiledStep.enter` gave it.
        end: the image in path space.
        difference: image − baseline, float32 `[height, width, channels]`.
        target: the class whose score is differentiated.
        end_gradient: whether the gradient at the image itself is wanted too, for one more step.
        shift: in [0, 1), by which a rule of shifted nodes moves those of this path.
        rule: the path's own; None for that of the integrator.
    """

    key: K
    start: np.ndarray
    end: np.ndarray
    difference: np.ndarray
    target: int
    end_gradient: bool = False
    shift: float = MIDDLE
    rule: PathRule | None = None


@dataclass(frozen=True)
class Integral(Generic[K]):
    """The integrated gradients along one path.

    Attributes:
        key: the path's key.
        values: float32 `[height, width, channels]`, in units of the score.
        error_estimate: estimated L1 error of `values` over its L1 norm; None if the rule estimates none.
        converged: whether the rule reached its tolerance; None if it estimates no error.
        steps: gradient evaluations spent on the integral.
        nodes: float32 `[steps, 3]`: alpha, score, dF/dalpha, sorted by alpha.
        end_gradient: dF/dx at the image, float32 `[height, width, channels]`, where the path wanted it.
    """

    key: K
    values: np.ndarray
    error_estimate: float | None
    converged: bool | None
    steps: int
    nodes: np.ndarray
    end_gradient: np.ndarray | None = None


_END = Block(-1, np.ones(1), np.ones(1))
"""The image itself; not a part of the integral."""


class _Pending(Generic[K]):
    """A block of a resident path whose nodes are being evaluated: its running sum in path space."""

    def __init__(self, resident: _Resident[K], block: Block) -> None:
        self.resident = resident
        self.block = block
        self.left = len(block.alphas)
        self.sum = np.zeros(0, np.float32)
        self.scores = np.zeros(self.left, np.float32)
        self.slopes = np.zeros(self.left, np.float32)


class _Resident(Generic[K]):
    """A path with its rule's state, while its steps are being taken."""

    def __init__(self, path: Path[K], state: PathState) -> None:
        self.path = path
        self.state = state
        self.nodes: list[np.ndarray] = []
        self.end_gradient: np.ndarray | None = None
        self._placed: tuple[Any, Any] | None = None

    def placed(self, compiled: CompiledStep) -> tuple[Any, Any]:
        """Returns start and end of the path where steps run, copied there once."""
        if self._placed is None:
            self._placed = compiled.place(self.path.start), compiled.place(self.path.end)
        return self._placed

    @property
    def done(self) -> bool:
        return self.state.done and (self.end_gradient is not None or not self.path.end_gradient)

    def first_steps(self) -> list[_Step[K]]:
        """Returns what a new path begins with."""
        end = [_Step(_Pending(self, _END), 0)] if self.path.end_gradient else []
        return end + self.steps()

    def steps(self) -> list[_Step[K]]:
        """Returns the steps that the rule wants next."""
        blocks = [_Pending(self, block) for block in self.state.blocks()]
        return [_Step(pending, node) for pending in blocks for node in range(pending.left)]

    def absorb(self, pending: _Pending[K], gradient: np.ndarray) -> None:
        """Hands a finished block to the rule; `gradient` `[height, width, channels]` is its weighted sum."""
        block = pending.block
        if block is _END:
            self.end_gradient = np.array(gradient)  # that of the batch's other sums is not kept
            return
        self.nodes.append(np.stack([block.alphas, pending.scores, pending.slopes], axis=1).astype(np.float32))
        self.state.absorb(block.key, gradient * self.path.difference, pending.scores, pending.slopes)

    def integral(self) -> Integral[K]:
        nodes = np.concatenate(self.nodes)
        return Integral(
            key=self.path.key,
            values=self.state.result(),
            error_estimate=self.state.error_estimate,
            converged=self.state.converged,
            steps=self.state.steps,
            nodes=nodes[np.argsort(nodes[:, 0], kind="stable")],
            end_gradient=self.end_gradient,
        )


@dataclass(frozen=True)
class _Step(Generic[K]):
    """One gradient evaluation: a node of a block."""

    pending: _Pending[K]
    node: int


class _Batch(Generic[K]):
    """Up to a batch of steps; their paths are its slots, their blocks its segments."""

    def __init__(self, compiled: CompiledStep, steps: list[_Step[K]]) -> None:
        self.compiled = compiled
        self.steps = steps
        self.residents = list(dict.fromkeys(step.pending.resident for step in steps))
        self.blocks = list(dict.fromkeys(step.pending for step in steps))

    def run(self) -> tuple[StepResult, float]:
        """Returns what the compiled step makes of the batch, and the seconds it took; padding has weight 0.

        Raises:
            MemoryError: the batch does not fit into the device's memory.
        """
        begin = time.monotonic()
        return self.compiled.run(self._packed()), time.monotonic() - begin

    def _packed(self) -> StepBatch:
        """Returns the steps as the compiled step takes them; padding repeats the first with weight 0."""
        starts, ends = zip(*(resident.placed(self.compiled) for resident in self.residents), strict=True)
        slots = {resident: slot for slot, resident in enumerate(self.residents)}
        segments = {pending: segment for segment, pending in enumerate(self.blocks)}
        picks = self.steps + self.steps[:1] * (self.compiled.batch - len(self.steps))
        weights = np.array([pick.pending.block.weights[pick.node] for pick in picks], np.float32)
        weights[len(self.steps) :] = 0.0
        return StepBatch(
            starts=starts,
            ends=ends,
            slots=np.array([slots[pick.pending.resident] for pick in picks], np.int32),
            alphas=np.array([pick.pending.block.alphas[pick.node] for pick in picks], np.float32),
            weights=weights,
            targets=np.array([pick.pending.resident.path.target for pick in picks], np.int32),
            segments=np.array([segments[pick.pending] for pick in picks], np.int32),
        )

    def absorb(self, result: StepResult, ladder: StepLadder) -> list[_Resident[K]]:
        """Adds the results to the blocks; returns the residents that had a block finished."""
        for position, taken in enumerate(self.steps):
            taken.pending.scores[taken.node] = result.scores[position]
            taken.pending.slopes[taken.node] = result.slopes[position]
            taken.pending.left -= 1
        for segment, pending in enumerate(self.blocks):
            pending.sum = pending.sum + result.sums[segment] if pending.sum.size else result.sums[segment]
        finished = [pending for pending in self.blocks if not pending.left]
        if finished:
            gradients = ladder.leave([pending.sum for pending in finished])
            for pending, gradient in zip(finished, gradients, strict=True):
                pending.resident.absorb(pending, gradient)
        return list(dict.fromkeys(pending.resident for pending in finished))


_Running = tuple[_Batch[K], Future[tuple[StepResult, float] | None]]


def _undone(running: deque[_Running[K]]) -> list[_Step[K]]:
    """Takes out of `running` the batches that became too large, waiting for all; returns their steps in order."""
    ended = [(entry, entry[1].result()) for entry in running]
    running.clear()
    running.extend(entry for entry, result in ended if result is not None)
    return [step for (batch, _), result in ended if result is None for step in batch.steps]


class Integrator:
    """Integrates gradients along many paths with one compiled step, by one rule but for paths that have their own.

    Attributes:
        in_flight: how many batches run at once.
    """

    def __init__(self, ladder: StepLadder, rule: PathRule, in_flight: int = 2) -> None:
        """Takes the `ladder` of the compiled step, the quadrature `rule`, and how many batches run at once."""
        self._ladder = ladder
        self._rule = rule
        self.in_flight = in_flight

    def integrate(
        self, paths: Iterable[Path[K]], on_batch: OnBatch = lambda steps, seconds: None
    ) -> Iterator[Integral[K]]:
        """Yields the integral of each path as it finishes, in an order fixed by the paths alone.

        Args:
            paths: consumed lazily, a few ahead of what has been yielded.
            on_batch: told of each batch in the caller's thread: its steps, padding apart, and seconds.

        Raises:
            MemoryError: not even one step fits into the device's memory.
        """
        source = iter(paths)
        waiting: deque[_Step[K]] = deque()
        running: deque[_Running[K]] = deque()
        with ThreadPoolExecutor(self.in_flight, "integrate") as threads:
            while True:
                while len(waiting) < self._ladder.step.batch and (path := next(source, None)) is not None:
                    state = (path.rule or self._rule).start(path.shift)
                    waiting.extend(_Resident(path, state).first_steps())
                compiled = self._ladder.step  # one for size and call: who made the paths may have shrunk it, or others
                if len(running) <= self.in_flight and waiting and (len(waiting) >= compiled.batch or not running):
                    steps = [waiting.popleft() for _ in range(min(len(waiting), compiled.batch))]
                    batch = _Batch(compiled, steps)
                    running.append((batch, threads.submit(self._ladder.attempt, compiled, batch.run)))
                elif running:
                    done = running[0][1].result()
                    if done is None:
                        waiting.extendleft(reversed(_undone(running)))
                        continue
                    batch, (result, seconds) = running.popleft()[0], done
                    on_batch(len(batch.steps), seconds)
                    for resident in batch.absorb(result, self._ladder):
                        if resident.done:
                            yield resident.integral()
                        else:
                            waiting.extendleft(reversed(resident.steps()))  # first: later images wait for this one
                else:
                    return
