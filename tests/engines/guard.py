"""Run a command and see to it that it ends, with all it started, when whoever asked for it is gone.

``guard.py USER FOLDER COMMAND…``: the command runs in a session of its own as USER (``-``: as we are). When standard
input ends, or on SIGTERM, its whole process group is ended and FOLDER removed. Standard input is a pipe that only the
test run holds, so this works however that ends, SIGKILL included.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import NoReturn


def _end_group(group: int) -> None:
    for number, seconds in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + seconds
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
            while time.monotonic() < deadline:
                # Reap our own child, else it stays in its group as a zombie.
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(-1, os.WNOHANG)
                os.killpg(group, 0)
                time.sleep(0.05)


def main(user: str, folder: str, *command: str) -> NoReturn:
    as_user: dict[str, object] = {}
    if user != "-":
        entry = pwd.getpwnam(user)
        as_user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **as_user)  # type: ignore[call-overload] # keywords in a dict
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: asked.set())

    def watch_stdin() -> None:
        while os.read(0, 4096):
            pass
        asked.set()

    threading.Thread(target=watch_stdin, daemon=True).start()
    while not asked.wait(0.2) and process.poll() is None:
        pass
    _end_group(process.pid)
    if asked.is_set():
        shutil.rmtree(folder, ignore_errors=True)
    # Else it ended by itself: its log stays for whoever wants to know why.
    os._exit(process.returncode or 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
