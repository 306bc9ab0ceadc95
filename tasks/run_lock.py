"""One driver at a time for one run: a file that its holder keeps fresh.

Two runs over one output need no lock: what they write is named by its content. Two drivers of the
same run would write the same tables, so the second is refused while the first lives, and takes
over when it does not.
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

from tasks import storage
from tasks.errors import FileMissing, FileTooLarge, PlanError, StorageError, TaskError
from tasks.run_files import RunFiles
from tasks.signals import deferred

logger = logging.getLogger(__name__)

BEAT_SECONDS = 15.0
SILENT_BEATS = 4
"""Beats without news after which a holder elsewhere is taken for dead."""
_SURE_BEATS = 2
"""Beats after its last look at the lock for which a holder takes the run for its own."""
_UNREADABLE_BEATS = 2
"""Looks in a row at a lock that cannot be read after which the run is given up."""
_RACE_SECONDS = 0.5


class RunBusyError(PlanError):
    """Another driver is at this run."""


class RunLostError(TaskError):
    """This driver does not hold the run any more: another may be at it, or may have ended it."""


@dataclass(frozen=True)
class _Holder:
    """Who holds a run: the words of the lock file.

    Attributes:
        token: Of this hold, unlike any other.
        host: Name of the machine.
        space: Process numbers mean the same where this is equal.
        pid: Process there.
        born: When that process started, as its system counts; tells it from a later one.
        beat: Grows for as long as the holder lives.
    """

    token: str
    host: str
    space: str
    pid: int
    born: str
    beat: int = 0

    def dead(self) -> bool:
        """Tell whether it ran here and does not any more; of other machines nothing is known."""
        if (self.host, self.space) != (socket.gethostname(), _space()):
            return False
        return _born(self.pid) != self.born


class RunLock:
    """A hold on a run; see :func:`holding`.

    Attributes:
        conditional: True when the store refuses to write over what is there where it is told to.
            Elsewhere correctness rests on names made of content alone.
    """

    def __init__(self, files: RunFiles) -> None:
        self._files, self._place = files, files.lock
        pid = os.getpid()
        self._me = _Holder(secrets.token_hex(8), socket.gethostname(), _space(), pid, _born(pid))
        self.conditional = False
        self._lost = ""
        self._unreadable = 0
        self._looked = time.monotonic()
        self._turn = threading.Lock()  # some stores take the old file away to write the new one
        self._over = threading.Event()

    def check(self) -> None:
        """Refuse to go on with a run that is another's now; quick, unless this process was frozen.

        Raises:
            RunLostError: it is, or was and has ended.
        """
        if time.monotonic() - self._looked > _SURE_BEATS * BEAT_SECONDS:
            self.confirm()
        elif self._lost:
            raise RunLostError(self._lost)

    def confirm(self) -> None:
        """Refuse to go on with a run that is another's now, after a look at the lock.

        Raises:
            RunLostError: it is, or was and has ended.
        """
        with self._turn:
            if not self._look() and self._unreadable:
                self._look()
        if self._lost:
            raise RunLostError(self._lost)

    def _look(self) -> bool:
        """Tell whether the lock shows that the run is still held by this driver."""
        if self._lost:
            return False
        begin = time.monotonic()
        try:
            now = self._read()
        except TaskError as error:
            self._blind(error)
            return False
        if now is None or now.token != self._me.token:
            gone = "is gone: another driver has ended the run, or somebody removed the file"
            self._lose(f"is held by {_named(now)}, who took the run over" if now else gone)
            return False
        self._looked, self._unreadable = begin, 0
        return True

    def _blind(self, error: TaskError) -> None:
        """Take note that the lock could not be read."""
        if isinstance(error, StorageError) and error.transient:  # the store is away for all drivers
            self._looked = time.monotonic()
            logger.warning("the run's lock could not be looked at: %s", error)
            return
        self._unreadable += 1
        if self._unreadable >= _UNREADABLE_BEATS:
            self._lose(f"cannot be read any more ({error}), so another driver may take the run")
        else:
            logger.warning("the run's lock cannot be read: %s", error)

    def _lose(self, why: str) -> None:
        logger.warning("the run's lock is lost: %s %s", self._place, why)
        self._lost = (
            f"the run is not this driver's any more: {self._place} {why}; what is done stands, so "
            "run the same command again to see how the run ended, or to go on with it"
        )

    def take(self) -> None:
        """Get hold of the run, from a dead holder if need be.

        Raises:
            RunBusyError: a driver that lives has it.
            StorageError: that cannot be told.
        """
        before = self._read()
        if before is not None and not before.dead():
            self._wait_for(before)
        try:
            if before is None:
                storage.write_new(self._place, self._text())
            else:
                self._write()
        except StorageError as error:  # the first that a run writes
            if error.transient:
                raise
            raise StorageError(
                f"the output {self._files.output} cannot be written: {error}; choose another "
                "folder or prefix, or allow writing there"
            ) from error
        # Stores that know no conditions let the last of several writers win.
        time.sleep(_RACE_SECONDS)
        self._looked = time.monotonic()
        now = self._read()
        if now is None or now.token != self._me.token:
            raise self._busy(now)
        self.conditional = self._honours_conditions()
        if not self.conditional:
            logger.warning(
                "the store of %s writes over what is there even when told not to, so two drivers "
                "that start one run together may both work for up to %g s; start one at a time",
                self._files.output,
                BEAT_SECONDS,
            )

    def _honours_conditions(self) -> bool:
        """Tell whether the output's store lets one of several writers of a new file win."""
        kind, probe = storage.scheme(self._files.output), self._files.lock_probe
        if kind != "s3":
            return kind in ("", "file")  # `tasks.other_store` can only look first
        try:
            storage.write_new(probe, b"{}\n")
            return not storage.write_new(probe, b"{}\n")
        finally:
            storage.delete(probe)

    def keep(self) -> None:
        """Show signs of life until :meth:`let_go`; runs in a thread."""
        while not self._lost and not self._over.wait(BEAT_SECONDS):
            try:
                with self._turn:
                    if self._look():
                        self._renew()
            except StorageError as error:  # whoever takes the run over meanwhile is seen next time
                logger.warning("the run's lock could not be renewed: %s", error)
            except Exception as error:  # without signs of life another driver would take the run
                self._lose(f"cannot be renewed any more ({type(error).__name__}: {error})")

    def _renew(self) -> None:
        self._me = replace(self._me, beat=self._me.beat + 1)
        self._write()
        late = time.monotonic() - self._looked > SILENT_BEATS * BEAT_SECONDS
        if late and storage.exists(self._files.success):
            self._lose("was renewed too late: another driver has ended the run")

    def let_go(self) -> None:
        """Give the run up."""
        self._over.set()
        try:
            with self._turn:
                now = self._read()
                if now is not None and now.token == self._me.token:
                    storage.delete(self._place)
        except TaskError as error:
            logger.warning("the run's lock stays behind: %s", error)

    def _wait_for(self, holder: _Holder) -> None:
        logger.warning("the run is held by %s; waiting for a sign of life", _named(holder))
        deadline = time.monotonic() + SILENT_BEATS * BEAT_SECONDS
        while time.monotonic() < deadline:
            time.sleep(min(1.0, BEAT_SECONDS / 2))
            now = self._read()
            if now is None:
                return
            if now != holder:
                raise self._busy(now)

    def _busy(self, holder: _Holder | None) -> RunBusyError:
        who = _named(holder) if holder else "another driver"
        return RunBusyError(
            f"{who} is at this run just now ({self._place}); wait for it, or stop it and run the "
            "same command again"
        )

    def _read(self) -> _Holder | None:
        try:
            return _Holder(**json.loads(storage.read_bytes(self._place, 4096)))
        except FileMissing:
            return None
        except (FileTooLarge, ValueError, TypeError) as error:
            raise RunBusyError(f"{self._place} is no lock of ours; remove it") from error

    def _write(self) -> None:
        storage.write_bytes(self._place, self._text())

    def _text(self) -> bytes:
        return f"{json.dumps(asdict(self._me), indent=2)}\n".encode()


@contextmanager
def holding(files: RunFiles) -> Iterator[RunLock]:
    """Hold a run for the length of the block.

    Raises:
        RunBusyError: a driver that lives has it; says which.
        StorageError: the lock cannot be read or written.
    """
    lock = RunLock(files)
    here = copy_context()  # what log lines are about
    beats = threading.Thread(target=here.run, args=(lock.keep,), name="run-lock", daemon=True)
    try:
        lock.take()
        beats.start()
        yield lock
    finally:
        with deferred():
            lock.let_go()


def _named(holder: _Holder) -> str:
    return f"process {holder.pid} on {holder.host}"


def _space() -> str:
    """Name the set of process numbers: containers on one host have their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux
        return ""


def _born(pid: int) -> str:
    """Return when a process started, or empty text when there is none or it has ended."""
    try:
        # The fields after the name, which may hold blanks and brackets itself: 3, the state, to 22.
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
