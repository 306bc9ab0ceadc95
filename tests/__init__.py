"""The tests mirror the source tree: tests/tasks/execution/test_pool.py is about tasks/execution/pool.py."""
