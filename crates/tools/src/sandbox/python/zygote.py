

import ast
import base64
import collections
import ctypes
import datetime
import functools
import gc
import itertools
import math
import random
import re
import resource
import select
import signal
import textwrap
import time

NEWNS, NEWIPC, NEWUSER, NEWPID = 0x20000, 0x8000000, 0x10000000, 0x20000000
BIND = 4096
LANDLOCK_RESTRICT_SELF, SECCOMP, CAPSET = {
    "x86_64": (446, 317, 126),
    "aarch64": (446, 277, 91),
}[os.uname().machine]
LIBC = ctypes.CDLL(None, use_errno=True)


def must(step, result):
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{step}: {os.strerror(code)}")


def close_for_call(limits, packages, rules, program):
    """Everything that separates this fork from others, in an order in which each step still can be done."""
    must("namespaces", LIBC.unshare(NEWNS | NEWIPC))
    options = limits["scratch_options"].encode()
    must("scratch", LIBC.mount(b"tmpfs", b"/tool/scratch", b"tmpfs", 6, options))
    os.chdir("/tool/scratch")
    if packages:
        # Its own set, or nothing, covers those of others.
        must("packages", LIBC.mount(packages.encode(), b"/packages", None, BIND, None))
    must("user namespace", LIBC.unshare(NEWUSER))
    for name, soft, hard in limits["resources"]:
        resource.setrlimit(getattr(resource, name), (soft, hard))
    nothing = (ctypes.c_uint32 * 6)()
    must("capabilities", LIBC.syscall(CAPSET, (ctypes.c_uint32 * 2)(0x20080522, 0), nothing))
    must("no_new_privs", LIBC.prctl(38, 1, 0, 0, 0))
    if rules >= 0:
        must("Landlock", LIBC.syscall(LANDLOCK_RESTRICT_SELF, rules, 0))
    steps = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(steps))
    must("seccomp", LIBC.syscall(SECCOMP, 1, 0, ctypes.create_string_buffer(head, len(head))))


def child(handed, asked, rules, program):
    channel, out, err = handed
    try:
        # A group of its own: a signal to the group would reach the warm interpreter and other calls.
        os.setsid()
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.dup2(channel, 0)
        try:
            close_for_call(asked["limits"], asked["packages"], rules, program)
        except BaseException as error:
            text = json.dumps({"refused": str(error)}).encode()
            os.write(0, struct.pack("<I", len(text)) + text)
            os._exit(125)
        os.closerange(3, 1024)
        random.seed()
        serve(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(126)


def main():
    rules, program = int(sys.argv[1]), base64.b64decode(sys.argv[2])
    control = socket.socket(fileno=os.dup(0))
    own = os.pidfd_open(os.getpid())
    running = {}
    # What was made so far is left alone by the collector, so that forks share it.
    gc.collect()
    gc.freeze()
    poll = select.poll()
    poll.register(control, select.POLLIN)
    control.send(b'{"ready":true}')
    while True:
        for ready, _ in poll.poll():
            if ready != control.fileno():
                poll.unregister(ready)
                call, pid = running.pop(ready)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.close(ready)
                control.send(json.dumps({"call": call, "status": status}).encode())
                continue
            message, handed, _, _ = socket.recv_fds(control, 4096, 3)
            if not message:
                os._exit(0)
            asked = json.loads(message)
            try:
                # Back from the namespace of the last call, so that each gets one of its own.
                must("process namespace", LIBC.setns(own, NEWPID))
                must("process namespace", LIBC.unshare(NEWPID))
                pid = os.fork()
                if pid == 0:
                    child(handed, asked, rules, program)
                exit = os.pidfd_open(pid)
                running[exit] = (asked["call"], pid)
                poll.register(exit, select.POLLIN)
                socket.send_fds(control, [json.dumps({"call": asked["call"]}).encode()], [exit])
            except OSError as error:
                control.send(json.dumps({"call": asked["call"], "failed": str(error)}).encode())
            for one in handed:
                os.close(one)


main()
