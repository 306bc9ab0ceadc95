"""Plan a run: expand manifests to items, find finished ones, estimate the cost."""

from tasks.planning.plan import Plan, check_inputs, make_plan, write_plan, write_record

__all__ = ["Plan", "check_inputs", "make_plan", "write_plan", "write_record"]
