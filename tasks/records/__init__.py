"""The files a run writes: plan, ledger, lock, success marker, finished items."""
