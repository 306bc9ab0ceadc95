"""The tests mirror the source: tests/tasks/execution/test_pool.py tests tasks/execution/pool.py."""
