"""What passes between the thread that owns the worlds and those that answer requests."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, Full, Queue
from threading import Condition
from typing import Any

WAITING = 64
"""Messages that may wait for their answer at a time."""
ENDED = "the player has ended."


@dataclass(frozen=True)
class Request:
    """A message, and where its answer goes: a sentence that says what is wrong with it, or nothing."""

    message: Any
    answer: "Future[str]" = field(default_factory=Future)


class Exchange:
    """Messages in, news out; whoever asks waits for the owner, and the owner waits for nobody."""

    def __init__(self) -> None:
        self._requests: Queue[Request | None] = Queue(WAITING)
        self._change = Condition()
        self._news, self._number = "", 0
        self._watchers, self._closed = 0, False

    def ask(self, message: Any, *, patience: float = 10.0) -> str:
        """Hand a message to the owner and return what is wrong with it; nothing if it was done.

        Raises:
            TimeoutError: If the owner does not answer within ``patience`` seconds, or too many others ask.
        """
        request = Request(message)
        with self._change:
            if self._closed:
                return ENDED
            try:
                self._requests.put_nowait(request)
            except Full as error:
                raise TimeoutError from error
        try:
            return request.answer.result(timeout=patience)
        except TimeoutError:
            if request.answer.cancel():  # else it is being done
                raise
            return request.answer.result()

    def take(self, patience: float) -> Request | None:
        """Return the next message that is still waited for; None if there is none within ``patience`` seconds."""
        try:
            request = self._requests.get(timeout=patience) if patience > 0 else self._requests.get_nowait()
        except Empty:
            return None
        return request if request is None or request.answer.set_running_or_notify_cancel() else self.take(0.0)

    def publish(self, news: str) -> None:
        """Replace the news."""
        with self._change:
            self._news, self._number = news, self._number + 1
            self._change.notify_all()

    def news(self, after: int, *, patience: float) -> tuple[int, str] | None:
        """Return the latest news and their number, once it is above ``after``; None if there are none in time."""
        with self._change:
            self._change.wait_for(lambda: self._number > after or self._closed, timeout=patience)
            return (self._number, self._news) if self._number > after and not self._closed else None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count as somebody who looks at the news."""
        with self._change:
            self._watchers += 1
        try:
            yield
        finally:
            with self._change:
                self._watchers -= 1

    @property
    def watchers(self) -> int:
        """How many look at the news."""
        with self._change:
            return self._watchers

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        with self._change:
            return self._closed

    def close(self) -> None:
        """End it: who waits for news gets none, who waits for an answer gets that."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        while (request := self.take(0.0)) is not None:
            request.answer.set_result(ENDED)
        self._requests.put_nowait(None)  # wakes the owner
