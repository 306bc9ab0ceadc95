"""Plan a run: expand manifests to items, find finished ones, estimate the cost."""

from tasks.planning.plan import Plan, check_inputs, make_plan, write_plan

__all__ = ["Plan", "check_inputs", "make_plan", "write_plan"]
