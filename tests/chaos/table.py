"""The table at the end: what befell a run, and what came of it."""

from tests.chaos.judge import Verdict
from tests.chaos.storm import Plan, Tally
from tests.faulty_proxy import KINDS


def render(plan: Plan, tally: Tally, verdict: Verdict, calm_seconds: float, seconds: float) -> str:
    """Return a table of a name and a number for each line."""
    lines = {
        "items": plan.items,
        "seed": plan.seed,
        "seconds, calm": round(calm_seconds),
        "seconds, stormy": round(seconds),
        **{f"faults: {kind}": tally.by_kind.get(kind, 0) for kind in (*KINDS, "flip")},
        "actor kills": tally.actor_kills,
        "node removals": tally.node_removals,
        "driver kills": tally.driver_kills,
        "driver freezes": tally.freezes,
        "full disks": tally.full_disks,
        "clocks that were off": tally.skewed_clocks,
        "faults of all kinds": tally.total,
        "drivers that gave up": tally.driver_failures,
        "rows": verdict.rows,
        "attempts, as the rows say": verdict.attempts,
        "rows with more than one": verdict.redone,
        "assets taken over": verdict.adopted,
        "verify": "passed" if verdict.verified else "FAILED",
        "bytes": "as in the calm run" if verdict.same_bytes else "DIFFERENT",
    }
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())


def shortcomings(plan: Plan, tally: Tally) -> list[str]:
    """Return what the storm lacked, so that a fair-weather run proves nothing, and who gave up."""
    lacking = []
    if tally.total < plan.faults:
        lacking.append(f"only {tally.total} of {plan.faults} faults were made")
    if not tally.actor_kills:
        lacking.append("no actor was killed")
    if tally.node_removals < plan.node_removals:
        lacking.append(f"only {tally.node_removals} of {plan.node_removals} nodes were removed")
    if not tally.driver_kills:
        lacking.append("the driver was not killed")
    for name, wanted in (("freezes", plan.freezes), ("full_disks", plan.full_disks)):
        if getattr(tally, name) < wanted:
            lacking.append(f"only {getattr(tally, name)} of {wanted} {name} were made")
    if tally.went_on:
        lacking.append(f"{tally.went_on} drivers that were frozen did not leave the run alone")
    if tally.driver_failures:
        lacking.append(f"{tally.driver_failures} drivers gave up by themselves")
    return lacking
