"""The storm: ends actors, a node and the driver while a run goes on, and starts what must be."""

import math
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.chaos.cluster import TwoNodes, kill
from tests.chaos.driver import LOST, Driver
from tests.faulty_proxy import FaultyProxy

_TICK = 0.1
_PATIENCE = 240.0
_FAILURES = 5
_RATES = 0.005, 0.2
_SKEWS = (0.0, 365 * 86400.0, -86400.0)
"""Seconds by which the clocks of drivers are off, one after the other."""


class RunStuckError(Exception):
    """The run makes no progress, or its driver gives up again and again."""


@dataclass(frozen=True)
class Plan:
    """What is to happen.

    Attributes:
        items: Of the run.
        seed: Another one, another storm.
        rate: Share of requests to the object store that meet a fault.
        faults: All goes well after so many of all kinds; 0 for a storm until the end.
        kill_every: Seconds between deaths of actors, on average.
        kill_gap: Items that are finished between two of them, so that the run gets on.
        node_removals: How often the second node goes away.
        driver_kills: How often the driver is killed; the last time when all assets stand.
        freezes: How often the driver is frozen and goes on after another has taken the run over.
        full_disks: How often a driver is started whose own disk is full.
        skew: Let the clocks of drivers differ.
    """

    items: int
    seed: int = 0
    rate: float = 0.05
    faults: int = 0
    kill_every: float = 5.0
    kill_gap: int = 8
    node_removals: int = 1
    driver_kills: int = 3
    freezes: int = 1
    full_disks: int = 1
    skew: bool = True

    def calm(self) -> "Plan":
        """Return the same without anything."""
        return Plan(
            self.items,
            self.seed,
            rate=0,
            kill_every=math.inf,
            node_removals=0,
            driver_kills=0,
            freezes=0,
            full_disks=0,
            skew=False,
        )


@dataclass
class Tally:
    """What has happened."""

    actor_kills: int = 0
    node_removals: int = 0
    driver_kills: int = 0
    freezes: int = 0
    full_disks: int = 0
    skewed_clocks: int = 0
    went_on: int = 0
    driver_failures: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Faults of all kinds that we made."""
        kills = self.actor_kills + self.node_removals + self.driver_kills
        others = self.freezes + self.full_disks + self.skewed_clocks
        return kills + others + sum(self.by_kind.values())


class Storm:
    """One run's bad weather."""

    def __init__(
        self,
        plan: Plan,
        cluster: TwoNodes,
        proxy: FaultyProxy,
        driver: Driver,
        done: Callable[[], int],
    ) -> None:
        self._plan, self._cluster, self._proxy = plan, cluster, proxy
        self._driver, self._done = driver, done
        self._dice = random.Random(plan.seed)
        self._asked = proxy.requests
        self._begin = time.monotonic()
        self.tally = Tally()
        self._driver_falls = self._moments_of_drivers()
        self._freezes = [i * plan.items // (plan.freezes + 2) for i in range(1, plan.freezes + 1)]
        self._full_disks, self._starts = plan.full_disks, 0
        # Each removal is followed by the return.
        moments = range(1, 2 * plan.node_removals + 1)
        self._node_moves = [i * plan.items // (2 * plan.node_removals + 2) for i in moments]
        self._next_kill = self._soon()
        self._killed_at = 0

    def rage(self) -> Tally:
        """Start the run and see it through.

        Raises:
            RunStuckError: it does not come to an end.
        """
        try:
            self._say("the driver starts", 0)
            self._start_driver()
            news, last = time.monotonic(), -1
            while self._driver.exit_code != 0 or self._driver.frozen:
                begin = time.monotonic()
                done = self._done()
                pause = max(_TICK, 4 * (time.monotonic() - begin))  # counting many files takes time
                if last == 0 < done or last < self._plan.items <= done:
                    self._say("all assets" if done >= self._plan.items else "first items", done)
                if done != last:
                    news, last = time.monotonic(), done
                if time.monotonic() - news > _PATIENCE:
                    raise RunStuckError(f"no news for {_PATIENCE:g} s at {done} items")
                self._step(done)
                time.sleep(pause)
        finally:
            self._driver.kill_all()
            self._proxy.faults = replace(self._proxy.faults, rate=0.0)
        self._say("the run is over", done)
        self.tally.by_kind = dict(self._proxy.counts)
        return self.tally

    def _say(self, what: str, done: int) -> None:
        """Write the diary."""
        seconds = time.monotonic() - self._begin
        print(f"{seconds:7.1f} s {done:5d} items: {what}", file=sys.stderr, flush=True)

    def _step(self, done: int) -> None:
        if self._driver.exit_code:
            self._revive(done)
        if self._driver.frozen:
            self._thaw(done)
        self.tally.by_kind = dict(self._proxy.counts)
        calm = 0 < self._plan.faults <= self.tally.total
        self._proxy.faults = replace(self._proxy.faults, rate=0.0 if calm else self._rate(done))
        if self._driver.exit_code == 0:  # it ended while its files were counted
            return
        if self._driver.frozen:
            pass  # what follows is about the run of one driver
        elif self._freezes and done >= self._freezes[0] and self._driver.holds:
            self._freezes.pop(0)
            self._freeze(done)
        elif self._driver_falls and done >= self._driver_falls[0]:
            self._driver_falls.pop(0)
            time.sleep(self._dice.uniform(0.0, 1.0))
            self._kill_driver(done)
        self._change_nodes(done)
        on = done >= self._killed_at + self._plan.kill_gap
        if on and not calm and time.monotonic() >= self._next_kill:
            self._kill_actor(done)

    def _moments_of_drivers(self) -> list[int]:
        """Return after how many items drivers are killed: spread, and when all assets stand."""
        count, items = self._plan.driver_kills, self._plan.items
        spread = [int((i + self._dice.uniform(0.6, 1.0)) / count * items) for i in range(count - 1)]
        return spread + [items] * min(count, 1)

    def _soon(self) -> float:
        return time.monotonic() + self._plan.kill_every * self._dice.uniform(0.5, 1.5)

    def _rate(self, done: int) -> float:
        """Return the rate at which the faults asked for are made by the end of the run."""
        asked, left = self._proxy.requests - self._asked, self._plan.items - done
        if not (self._plan.faults and done > 10 and left > 10):
            return self._plan.rate
        wanted = (self._plan.faults - self.tally.total) / (left * asked / done)
        return min(max(wanted, _RATES[0]), _RATES[1])

    def _start_driver(self, *, disk_full: bool = False) -> None:
        """Start a driver, each with another clock."""
        skew = _SKEWS[self._starts % len(_SKEWS)] if self._plan.skew else 0.0
        self._starts += 1
        self.tally.skewed_clocks += skew != 0.0
        self._driver.start(skew, disk_full=disk_full)

    def _restart_driver(self) -> None:
        """Start the next driver, on a machine whose disk is full where that is still to come."""
        full, self._full_disks = self._full_disks > 0, max(0, self._full_disks - 1)
        self._start_driver(disk_full=full)

    def _freeze(self, done: int) -> None:
        self._say("the driver is frozen, another starts", done)
        self._driver.freeze()
        self.tally.freezes += 1
        self._start_driver()

    def _thaw(self, done: int) -> None:
        """Let the frozen driver go on when the run is another's; it must leave that alone."""
        if self._driver.holds:
            self._driver.thaw()
        code = self._driver.thawed_exit()
        if code is not None:
            self._say(f"the driver that was frozen ends with exit code {code}", done)
            self.tally.went_on += code != LOST

    def _revive(self, done: int) -> None:
        """Start a driver that has given up, as Prefect does; it should not have."""
        self._say(f"the driver gives up with exit code {self._driver.exit_code}", done)
        if self._driver.disk_full:
            self.tally.full_disks += 1
        else:
            self.tally.driver_failures += 1
        if self.tally.driver_failures > _FAILURES:
            raise RunStuckError("the driver gives up again and again")
        self._start_driver()

    def _kill_driver(self, done: int) -> None:
        if self._driver.exit_code is None:
            self._say("the driver is killed", done)
            self._driver.kill()
            self.tally.driver_kills += 1
            self._restart_driver()

    def _change_nodes(self, done: int) -> None:
        """Take the second node away, or bring it back, when it is time."""
        if not self._node_moves or done < self._node_moves[0]:
            return
        self._node_moves.pop(0)
        if self._cluster.whole:
            self._say("a node goes", done)
            self._cluster.remove_second()
            self.tally.node_removals += 1
        else:
            self._cluster.add_second()
            self._say("the node is back", done)

    def _kill_actor(self, done: int) -> None:
        """End an actor, mostly one that is at work."""
        actors = self._cluster.actors()
        loaded = [pid for pid, up in actors.items() if up]
        if not loaded:
            return
        at = self._dice.choice(list(actors) if self._dice.random() < 0.2 else loaded)
        self.tally.actor_kills += kill(at)
        self._say(f"an actor is killed, {'at work' if actors[at] else 'while it loads'}", done)
        self._killed_at, self._next_kill = done, self._soon()
