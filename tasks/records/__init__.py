"""The records of a run: plan, ledger, lock, success marker, table of finished items."""
