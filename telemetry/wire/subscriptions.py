"""What we want to hear from a broker, and what it said to that."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from typing import NamedTuple

from telemetry.wire.mailbox import Receipt


class Question(NamedTuple):
    """Topics with the quality of service wanted, and who waits for the answer."""

    filters: Mapping[str, int]
    receipt: Receipt


class Subscriptions:
    """Topics wanted, over all connections; any thread may ask, one does the rest."""

    def __init__(self) -> None:
        self._waiting: deque[Question] = deque()
        self._asked: dict[int, Question] = {}
        self._granted: dict[str, int] = {}
        self._denied: dict[str, int] = {}

    @property
    def denied(self) -> Set[str]:
        """Topics that the broker does not let us hear."""
        return frozenset(self._denied)

    def want(self, filters: Mapping[str, int]) -> Receipt:
        """Want topics from now on."""
        question = Question(filters, Receipt())
        self._waiting.append(question)
        return question.receipt

    def send(self, subscribe: Callable[[Mapping[str, int]], int]) -> None:
        """Put all questions that wait, by a function that returns the number of the answer."""
        while self._waiting:
            question = self._waiting.popleft()
            self._asked[subscribe(question.filters)] = question

    def renew(self, is_known: bool) -> None:
        """Ask again, on a new connection, what was not answered, and all if we are not known.

        So for what was denied: it may be allowed by now, as the trouble asks for.
        """
        self._waiting.extendleft(self._asked[number] for number in sorted(self._asked)[::-1])
        self._asked.clear()
        if again := self._denied | ({} if is_known else self._granted):
            self._waiting.appendleft(Question(again, Receipt()))

    def answer(self, number: int, answers: Sequence[bool]) -> None:
        """Take down what the broker lets us hear."""
        question = self._asked.pop(number, None)
        if question is None:
            return
        allowed = dict(zip(question.filters, answers, strict=False))
        for topic, qos in question.filters.items():
            self._granted.pop(topic, None)
            self._denied.pop(topic, None)
            found = self._granted if allowed.get(topic) else self._denied
            found[topic] = qos
        question.receipt.settle(is_granted=all(answers))
