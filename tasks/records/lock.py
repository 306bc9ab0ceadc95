"""One driver at a time per run: a lock file that its holder renews.

Two runs over one output need no lock: the names of their files are hashes of the content. Two
drivers of the same run would write the same tables, so a second driver is refused while the first
one is alive, and takes over the run when it is dead.
"""

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tasks.cluster.signals import deferred
from tasks.errors import FileMissing, FileTooLarge, PlanError, StorageError, TaskError
from tasks.records.layout import RunFiles

logger = logging.getLogger(__name__)

BEAT_SECONDS = 15.0
SILENT_BEATS = 4
"""Beats without a heartbeat after which a holder on another machine counts as dead."""
_SURE_BEATS = 2
"""Beats for which a holder trusts its last check of the lock."""
_UNREADABLE_BEATS = 2
"""Checks in a row that find an unreadable lock before the holder gives up the run."""
_RACE_SECONDS = 0.5
_FILE_KEYS = {"pid_namespace": "space", "process_start": "born"}
"""Keys of lock.json that differ from the fields' names; fixed, for drivers of other versions."""


class RunBusyError(PlanError):
    """Another driver holds this run."""


class RunLostError(TaskError):
    """This driver no longer holds the run: another driver has taken it over or ended it."""


@dataclass(frozen=True)
class _Holder:
    """The holder of a run: the content of the lock file.

    Attributes:
        token: Random, unique for each time that the lock is acquired.
        host: Name of the machine.
        pid_namespace: PIDs are comparable only between processes of one namespace.
        pid: PID of the driver.
        process_start: Start time of that process in clock ticks; a later process of the same PID
            has another.
        beat: Number of the last heartbeat.
    """

    token: str
    host: str
    pid_namespace: str
    pid: int
    process_start: str
    beat: int = 0

    @classmethod
    def this_process(cls) -> "_Holder":
        """Return this process as a new holder."""
        pid, token = os.getpid(), secrets.token_hex(8)
        return cls(token, socket.gethostname(), _pid_namespace(), pid, _process_start(pid))

    @classmethod
    def from_json(cls, data: bytes) -> "_Holder":
        """Parse a lock file.

        Raises:
            TypeError, ValueError: it is not a lock file.
        """
        fields = {key: name for name, key in _FILE_KEYS.items()}
        return cls(**{fields.get(key, key): value for key, value in json.loads(data).items()})

    def to_json(self) -> bytes:
        """Return the content of the lock file."""
        content = {_FILE_KEYS.get(name, name): value for name, value in asdict(self).items()}
        return f"{json.dumps(content, indent=2)}\n".encode()

    def is_dead(self) -> bool:
        """Tell whether it ran on this machine and has ended; false for other machines."""
        if (self.host, self.pid_namespace) != (socket.gethostname(), _pid_namespace()):
            return False
        return _process_start(self.pid) != self.process_start

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class RunLock:
    """The lock of one run; see :func:`hold_run`.

    Attributes:
        conditional_writes: True when the store refuses to create a file that exists. Without that,
            two drivers may both acquire a lock; results stay correct because the names of files
            are hashes of their content.
    """

    def __init__(self, files: RunFiles) -> None:
        self._files, self._file = files, files.lock
        self._holder = _Holder.this_process()
        self.conditional_writes = False
        self._lost = ""
        self._unreadable = 0
        self._last_check = time.monotonic()
        self._io_lock = threading.Lock()  # some stores delete the old file before writing the new
        self._released = threading.Event()

    def check(self) -> None:
        """Check that this driver still holds the run; reads the file only if the last check is old.

        Raises:
            RunLostError: another driver has taken over or ended the run.
        """
        if time.monotonic() - self._last_check > _SURE_BEATS * BEAT_SECONDS:
            self.verify()
        elif self._lost:
            raise RunLostError(self._lost)

    def verify(self) -> None:
        """Read the lock file and check that this driver still holds the run.

        Raises:
            RunLostError: another driver has taken over or ended the run.
        """
        with self._io_lock:
            if not self._check_holder() and self._unreadable:
                self._check_holder()
        if self._lost:
            raise RunLostError(self._lost)

    def _check_holder(self) -> bool:
        """Tell whether the lock file names this driver; note it if the run is lost."""
        if self._lost:
            return False
        begin = time.monotonic()
        try:
            now = self._read()
        except TaskError as error:
            self._note_unreadable(error)
            return False
        if now is None or now.token != self._holder.token:
            gone = "is gone: another driver has ended the run, or somebody deleted the file"
            self._mark_lost(f"is held by {now}, which has taken over the run" if now else gone)
            return False
        self._last_check, self._unreadable = begin, 0
        return True

    def _note_unreadable(self, error: TaskError) -> None:
        """Note that the lock could not be read; repeated permanent errors mean that it is lost."""
        if isinstance(error, StorageError) and error.transient:  # unavailable to all drivers
            self._last_check = time.monotonic()
            logger.warning("cannot check the run's lock: %s", error)
            return
        self._unreadable += 1
        if self._unreadable >= _UNREADABLE_BEATS:
            self._mark_lost(f"cannot be read ({error}), so another driver may take over the run")
        else:
            logger.warning("cannot read the run's lock: %s", error)

    def _mark_lost(self, why: str) -> None:
        logger.warning("the run's lock is lost: %s %s", self._file, why)
        self._lost = (
            f"this driver no longer holds the run: {self._file} {why}; finished items are kept, "
            "so run the same command again to continue the run or to see its result"
        )

    def acquire(self) -> None:
        """Acquire the lock, from a dead holder if there is one.

        Raises:
            RunBusyError: a live driver holds the run.
            StorageError: the lock cannot be read or written.
        """
        before = self._read()
        if before is not None and not before.is_dead():
            self._await_heartbeat(before)
        try:
            if before is None:
                self._file.write_new(self._holder.to_json())
            else:
                self._write()
        except StorageError as error:  # the first file that a run writes
            if error.transient:
                raise
            raise StorageError(
                f"the output {self._files.output} cannot be written: {error}; choose another "
                "folder or prefix, or allow writing there"
            ) from error
        # Without conditional writes, the last of several writers wins.
        time.sleep(_RACE_SECONDS)
        self._last_check = time.monotonic()
        now = self._read()
        if now is None or now.token != self._holder.token:
            raise self._busy_error(now)
        self.conditional_writes = self._supports_conditional_writes()
        if not self.conditional_writes:
            logger.warning(
                "the store of %s does not support conditional writes, so two drivers that start "
                "one run at the same time may both work on it for up to %g s; start one at a time",
                self._files.output,
                BEAT_SECONDS,
            )

    def _supports_conditional_writes(self) -> bool:
        """Tell whether the output's store refuses to create a file that exists."""
        probe = self._files.lock_probe
        if probe.scheme != "s3":
            return probe.scheme in ("", "file")  # `tasks.storage.generic` can only check first
        try:
            probe.write_new(b"{}\n")
            return not probe.write_new(b"{}\n")
        finally:
            probe.delete()

    def heartbeat(self) -> None:
        """Renew the lock file every BEAT_SECONDS until :meth:`release`; runs in a thread."""
        while not self._lost and not self._released.wait(BEAT_SECONDS):
            try:
                with self._io_lock:
                    if self._check_holder():
                        self._renew()
            except StorageError as error:  # the next check notices a takeover
                logger.warning("cannot renew the run's lock: %s", error)
            except Exception as error:  # without heartbeats another driver takes over the run
                self._mark_lost(f"cannot be renewed ({type(error).__name__}: {error})")

    def _renew(self) -> None:
        self._holder = replace(self._holder, beat=self._holder.beat + 1)
        self._write()
        late = time.monotonic() - self._last_check > SILENT_BEATS * BEAT_SECONDS
        if late and self._files.success.exists():
            self._mark_lost("was renewed too late: another driver has ended the run")

    def release(self) -> None:
        """Stop the heartbeat and delete the lock file if this driver holds it."""
        self._released.set()
        try:
            with self._io_lock:
                now = self._read()
                if now is not None and now.token == self._holder.token:
                    self._file.delete()
        except TaskError as error:
            logger.warning("cannot delete the run's lock: %s", error)

    def _await_heartbeat(self, holder: _Holder) -> None:
        """Wait until `holder` counts as dead.

        Raises:
            RunBusyError: it sends a heartbeat.
        """
        logger.warning("the run is held by %s; waiting for its heartbeat", holder)
        deadline = time.monotonic() + SILENT_BEATS * BEAT_SECONDS
        while time.monotonic() < deadline:
            time.sleep(min(1.0, BEAT_SECONDS / 2))
            now = self._read()
            if now is None:
                return
            if now != holder:
                raise self._busy_error(now)

    def _busy_error(self, holder: _Holder | None) -> RunBusyError:
        return RunBusyError(
            f"{holder or 'another driver'} is working on this run ({self._file}); wait for it, or "
            "stop it and run the same command again"
        )

    def _read(self) -> _Holder | None:
        try:
            return _Holder.from_json(self._file.read_bytes(4096))
        except FileMissing:
            return None
        except (FileTooLarge, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise RunBusyError(
                f"{self._file} is not a lock file of StyleGallery; delete it"
            ) from error

    def _write(self) -> None:
        self._file.write_bytes(self._holder.to_json())


@contextmanager
def hold_run(files: RunFiles) -> Iterator[RunLock]:
    """Hold a run's lock for the length of the block.

    Raises:
        RunBusyError: a live driver holds the run; the message names it.
        StorageError: the lock cannot be read or written.
    """
    lock = RunLock(files)
    context = copy_context()  # the fields of log lines
    beats = threading.Thread(
        target=context.run, args=(lock.heartbeat,), name="run-lock", daemon=True
    )
    try:
        lock.acquire()
        beats.start()
        yield lock
    finally:
        with deferred():
            lock.release()


def _pid_namespace() -> str:
    """Return the PID namespace of this process: each container on a host has its own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux
        return ""


def _process_start(pid: int) -> str:
    """Return when a process started, in clock ticks; empty if it does not exist or has ended."""
    try:
        # Fields 3 (state) to 22 (start time) follow the name, which may hold blanks and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
