"""Who asks the sites: one process, or the workers of a Dask cluster. Both find the same."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from optimizer.decision import Decision
from optimizer.fleet.member import Member, Reply
from optimizer.problem import Problem
from twin.errors import ServiceError, ValidationIssue
from twin.physics import FloatArray

CONNECT: Final = "10s"
"""Longest to wait for a cluster."""


class Crew(Protocol):
    """All sites of a fleet; answers come in their order."""

    def alone(self) -> list[Reply]:
        """Return what all do when nothing moves."""
        ...

    def ask(self, prices: FloatArray) -> list[Reply]:
        """Return what all do at prices of the lanes, ``(block, lane)``. [EUR MWh-1]"""
        ...

    def settle(self, nets: Sequence[FloatArray]) -> list[Reply]:
        """Return what all do when told what to send less what to take in. [MWh]"""
        ...

    def decide(self, nets: Sequence[FloatArray]) -> list[Decision]:
        """Return the decisions of all when told what to send less what to take in. [MWh]"""
        ...

    def close(self) -> None:
        """Let the sites go."""
        ...


class Here:
    """All sites in this process, asked one after another.

    Parameters
    ----------
    problems
        Their questions.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._members = [Member(problem) for problem in problems]

    def alone(self) -> list[Reply]:
        """Return what all do when nothing moves."""
        return [member.alone() for member in self._members]

    def ask(self, prices: FloatArray) -> list[Reply]:
        """Return what all do at prices of the lanes."""
        return [member.ask(prices) for member in self._members]

    def settle(self, nets: Sequence[FloatArray]) -> list[Reply]:
        """Return what all do when told what to send less what to take in."""
        return [member.settle(net) for member, net in zip(self._members, nets, strict=True)]

    def decide(self, nets: Sequence[FloatArray]) -> list[Decision]:
        """Return the decisions of all when told what to send less what to take in."""
        return [member.decide(net) for member, net in zip(self._members, nets, strict=True)]

    def close(self) -> None:
        """Let the sites go."""
        self._members = []


class Cluster:
    """The sites spread over the workers of a Dask cluster, each kept warm by one of them.

    Questions and answers travel as pickles, as Dask has them: whoever reaches the cluster's ports
    can run code on it, so they belong into a closed network, or behind Dask's own TLS.

    Parameters
    ----------
    problems
        Questions of the sites.
    address
        Of the scheduler, as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    ServiceError
        If there is no dask, no scheduler, or no worker, or one of them is lost on the way.
    """

    def __init__(self, problems: Sequence[Problem], address: str) -> None:
        self._client, self._address = _connected(address), address
        workers = sorted(self._client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            self._client.close()
            fault = ValidationIssue(
                place=address, value="no workers", mend="start a worker at least"
            )
            raise ServiceError("cluster", [fault])
        placed = [
            self._client.submit(
                Member, problem, actor=True, pure=False, workers=[workers[number % len(workers)]]
            )
            for number, problem in enumerate(problems)
        ]
        try:
            with self._client.as_current():  # by which the members find their way
                self._members: list[Any] = [future.result() for future in placed]
        except BaseException:
            self._client.close()
            raise

    def alone(self) -> list[Reply]:
        """Return what all do when nothing moves."""
        return self._heard("alone", [() for _ in self._members])

    def ask(self, prices: FloatArray) -> list[Reply]:
        """Return what all do at prices of the lanes."""
        return self._heard("ask", [(prices,) for _ in self._members])

    def settle(self, nets: Sequence[FloatArray]) -> list[Reply]:
        """Return what all do when told what to send less what to take in."""
        return self._heard("settle", [(net,) for net in nets])

    def decide(self, nets: Sequence[FloatArray]) -> list[Decision]:
        """Return the decisions of all when told what to send less what to take in."""
        return self._heard("decide", [(net,) for net in nets])

    def close(self) -> None:
        """Let the sites go, and the cluster for others."""
        self._members = []
        self._client.close()

    def _heard(self, asked: str, told: Sequence[tuple[FloatArray, ...]]) -> list[Any]:
        """Return what all answer when each is told something."""
        both = zip(self._members, told, strict=True)
        try:
            calls = [getattr(member, asked)(*own) for member, own in both]
            return [call.result() for call in calls]
        except OSError as error:  # Dask's own word for it
            mend = "a worker is lost: see why it ended, as for want of memory, and decide again"
            fault = ValidationIssue(place=self._address, value=str(error), mend=mend)
            raise ServiceError("cluster", [fault]) from error


def _connected(address: str) -> Any:
    """Return a client of a scheduler."""
    try:
        from dask import distributed  # noqa: PLC0415  (heavy, for planners only)
    except ImportError as error:
        mend = "install the planner's environment, or leave the cluster out"
        fault = ValidationIssue(place="dask.distributed", value="", mend=mend)
        raise ServiceError("cluster", [fault]) from error
    try:
        # a client of no address is made by half, waits at the end and tells a trace-back
        distributed.comm.get_address_host_port(address)
        return distributed.Client(  # type: ignore[no-untyped-call]
            address, timeout=CONNECT, set_as_default=False
        )
    except (OSError, ValueError) as error:
        mend = "start a scheduler there, or leave the cluster out"
        fault = ValidationIssue(place="address", value=address, mend=mend)
        raise ServiceError("cluster", [fault]) from error


def crew_of(problems: Sequence[Problem], cluster: str | None) -> Crew:
    """Return who asks the sites: the cluster at an address, or this process without one."""
    return Here(problems) if cluster is None else Cluster(problems, cluster)
