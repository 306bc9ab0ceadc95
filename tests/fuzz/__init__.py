"""Broken input by the thousand: each must end as a result or as one of our own sentences.

`python -m tests.fuzz --minutes 10` goes on until the time is over and keeps what it finds.
"""

NOW = ".now"
"""Ending of the file that holds what a reader is at."""
