"""What a runtime says of itself."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from . import _core


class LoadUnderWay(NamedTuple):
    """One file that is being loaded. waits_for: "header", "memory", "disk" or "check". Bytes."""

    path: str
    waits_for: str
    done: int
    total: int


class Holder(NamedTuple):
    """Who has memory of the budget. kind: such as "active model"; in_use: leased now; asked_back: what is to come."""

    name: str
    kind: str
    in_use: bool
    host: int
    pinned: int
    asked_back: int


class Status(NamedTuple):
    """All sizes in bytes. host and pinned: used now, at the most so far, and the limit.

    holders: who has it. loads: what each file on its way waits for. staging: memory of chunks on their way to a device.
    evictions, refusals: how often memory was asked back from a holder, and how many requests got none.
    pressure: the limits of the machine, as the last look found them, and what was asked back because of them.
    """

    host_used: int
    host_peak: int
    host_limit: int
    pinned_used: int
    pinned_peak: int
    pinned_limit: int
    holders: "list[Holder]"
    loads: "list[LoadUnderWay]"
    evictions: int
    refusals: int
    staging: "dict[str, int]"
    pressure: "dict[str, Any]"


class StreamStatus(NamedTuple):
    """How a stream is doing. Bytes, where nothing else is said.

    model: of all its weights on the device. budget: what it may take there; device, device_peak: what it takes now, and
    at the most so far; resident: layers in it that are there or on their way.
    passes, uses, hits, departures: begun, of layers, of layers that were all there, and not in the order of the pass
    before. moved, moved_last_pass, from_disk: to the device, and of it read from the disk.
    link_bytes_per_second: as measured, 0 before. waited_seconds: for layers, by what they waited for.
    """

    layers: int
    model: int
    budget: int
    device: int
    device_peak: int
    resident: int
    passes: int
    uses: int
    hits: int
    departures: int
    moved: int
    moved_last_pass: int
    from_disk: int
    link_bytes_per_second: float
    waited_seconds: "dict[str, float]"


def status_of(core: "_core.Runtime") -> Status:
    budget = core.budget()
    return Status(
        host_used=budget["used"]["host"],
        host_peak=budget["peak"]["host"],
        host_limit=budget["limit"]["host"],
        pinned_used=budget["used"]["pinned"],
        pinned_peak=budget["peak"]["pinned"],
        pinned_limit=budget["limit"]["pinned"],
        holders=[
            Holder(
                account["name"],
                account["class"],
                account["leased"],
                account["held"]["host"],
                account["held"]["pinned"],
                account["asked_back"]["host"],
            )
            for account in budget["accounts"]
            if account["held"]["host"] or account["asked_back"]["host"]
        ],
        loads=[
            LoadUnderWay(news["path"], news["stage"], news["done"], news["total"]) for news in core.loads_under_way()
        ],
        evictions=budget["evictions"],
        refusals=budget["refusals"],
        staging=core.staging(),
        pressure=core.pressure(),
    )
