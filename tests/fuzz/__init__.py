"""Fuzzing: broken input must give a result or one of our own errors.

`python -m tests.fuzz --minutes 10` fuzzes for that time and saves what it finds.
"""

NOW = ".now"
"""Suffix of the file with the input that a reader is reading."""
