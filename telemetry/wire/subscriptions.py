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
        self.denied: Set[str] = frozenset()

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
        """Ask again, on a new connection, what was not answered, and all if we are not known."""
        self._waiting.extendleft(self._asked[number] for number in sorted(self._asked)[::-1])
        self._asked.clear()
        if self._granted and not is_known:
            self._waiting.appendleft(Question(dict(self._granted), Receipt()))

    def answer(self, number: int, answers: Sequence[bool]) -> None:
        """Take down what the broker lets us hear."""
        question = self._asked.pop(number, None)
        if question is None:
            return
        allowed = dict(zip(question.filters, answers, strict=False))
        for topic, qos in question.filters.items():
            if allowed.get(topic):
                self._granted[topic] = qos
            else:
                self._granted.pop(topic, None)
        self.denied = (self.denied | question.filters.keys()) - self._granted.keys()
        question.receipt.settle(is_granted=all(answers))
