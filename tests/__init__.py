"""The tests mirror the source tree: tests/tasks/test_pool.py is about tasks/pool.py."""
