"""A driver for tests that kill it: `python -m tests.tasks.drive SPEC.json ACTOR`."""

import sys
from pathlib import Path

from schemas.run import RestyleSpec
from tasks import planning
from tasks.execution import execute
from tests.tasks import actors


def main() -> None:
    spec = RestyleSpec.model_validate_json(Path(sys.argv[1]).read_text())
    plan = planning.make_plan(spec)
    planning.write_plan(plan)
    execute.execute(plan, actor=getattr(actors, sys.argv[2]))


if __name__ == "__main__":
    main()
