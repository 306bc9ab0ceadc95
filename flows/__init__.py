"""The batch job as Prefect flows, and the command line `stylegallery`.

No module in this package may say `from __future__ import annotations`: Prefect resolves the
annotations of a flow's parameters when it is served, and the postponed ones cannot be resolved.
"""
