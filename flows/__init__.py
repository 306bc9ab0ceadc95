"""The Prefect flows, and the command line `stylegallery`.

No module here may use `from __future__ import annotations`: Prefect resolves the annotations of a
flow's parameters when the flow is served, and cannot resolve postponed ones.
"""
