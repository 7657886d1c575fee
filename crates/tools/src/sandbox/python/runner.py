"""Runs one call of a tool in this process: reads it from a channel, answers there, and ends.

Whatever is checked here, a tool can undo: it runs in the same interpreter. What holds, holds outside of it.
"""

import asyncio
import collections.abc
import dataclasses
import enum
import inspect
import json
import linecache
import os
import socket
import struct
import sys
import traceback
import types
import typing

FILE = "tool.py"
OWN = (lambda: 0).__code__.co_filename


def serve(channel):
    """One call over the descriptor `channel`. Does not return."""
    request = json.loads(_frame(channel))
    os.environ.clear()
    os.environ.update(request["variables"])
    # Made anew: the ones of a warm interpreter belong to other files.
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = open(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.path += request.get("packages", [])
    # What tools read from is empty, and what programs they start inherit is not the channel.
    answers = os.dup(channel)
    os.set_inheritable(answers, False)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if channel > 2:
        os.close(channel)
    try:
        answer = {"value": _plain(_call(request))}
    except BaseException as error:
        answer = {"raised": _report(error)}
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    try:
        text = json.dumps(answer, allow_nan=False).encode()
    except Exception as error:
        text = json.dumps({"raised": {"kind": type(error).__name__, "message": "the result is no JSON: " + str(error)}}).encode()
    view = memoryview(struct.pack("<I", min(len(text), 0xFFFFFFFF)) + text)
    try:
        while view:
            view = view[os.write(answers, view) :]
    finally:
        os._exit(0)


def _frame(channel):
    (length,) = struct.unpack("<I", _exactly(channel, 4))
    return _exactly(channel, length)


def _exactly(channel, length):
    parts = bytearray()
    while len(parts) < length:
        part = os.read(channel, min(length - len(parts), 1 << 20))
        if not part:
            # The server let go: there is nothing to do.
            os._exit(0)
        parts += part
    return bytes(parts)


def _call(request):
    source = request["source"]
    linecache.cache[FILE] = (len(source), None, source.splitlines(True), FILE)
    module = types.ModuleType("tool")
    module.__file__ = FILE
    sys.modules["tool"] = module
    exec(compile(source, FILE, "exec", dont_inherit=True), module.__dict__)
    if request["function"] is None:
        return None
    function = getattr(module, request["function"], None)
    if not callable(function):
        raise NameError(f"the source has no function {request['function']!r}")
    value = function(**_arguments(function, request["arguments"]))
    if inspect.isawaitable(value):
        value = asyncio.run(_awaited(value))
    return value


async def _awaited(value):
    return await value


def _arguments(function, given):
    try:
        hints = typing.get_type_hints(function)
    except Exception:
        hints = {}
    return {name: _coerced(value, hints.get(name, typing.Any)) for name, value in given.items()}


def _coerced(value, hint):
    """The value as its hint names it, where that is clear; else the value as it is."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _coerced(value, inner[0])
    if origin is typing.Union or origin is getattr(types, "UnionType", typing.Union):
        return _of_union(value, inner)
    if origin in (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable) and isinstance(value, list):
        items = [_coerced(item, inner[0] if inner else typing.Any) for item in value]
        return origin(items) if origin in (set, frozenset) else items
    if origin is tuple and isinstance(value, list):
        kinds = inner[:1] * len(value) if inner[1:] == (...,) else inner
        return tuple(_coerced(item, kind) for item, kind in zip(value, kinds)) if len(kinds) == len(value) else value
    if origin in (dict, collections.abc.Mapping) and isinstance(value, dict) and len(inner) == 2:
        return {_coerced(key, inner[0]): _coerced(item, inner[1]) for key, item in value.items()}
    if not isinstance(hint, type) or origin is not None:
        return value
    if isinstance(value, dict) and hasattr(hint, "model_validate"):
        return hint.model_validate(value)
    if isinstance(value, dict) and hasattr(hint, "parse_obj"):
        return hint.parse_obj(value)
    if isinstance(value, dict) and dataclasses.is_dataclass(hint):
        kinds = typing.get_type_hints(hint)
        return hint(**{name: _coerced(item, kinds.get(name, typing.Any)) for name, item in value.items()})
    if issubclass(hint, enum.Enum):
        return hint(value) if not isinstance(value, hint) else value
    return _scalar(value, hint)


def _of_union(value, kinds):
    if value is None and type(None) in kinds:
        return None
    for kind in kinds:
        if isinstance(kind, type) and type(value) is kind:
            return value
    for kind in kinds:
        if kind is not type(None):
            try:
                return _coerced(value, kind)
            except Exception:
                continue
    return value


def _scalar(value, hint):
    if hint is bool and isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    if hint is int and isinstance(value, str):
        return int(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if hint is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, (int, float, bool)):
        return json.dumps(value)
    if hint in (bytes, bytearray) and isinstance(value, str):
        return hint(value.encode())
    return value


def _plain(value):
    """What JSON can hold of a value; anything else becomes its text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    for dump in ("model_dump", "dict"):
        if hasattr(type(value), "__fields__") and callable(getattr(value, dump, None)):
            return _plain(getattr(value, dump)())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=repr)
    return str(value)


def _report(error):
    """Writes the error to stderr, as seen from the tool's source, and says it in short."""
    if isinstance(error, SystemExit) and not error.code:
        return {"kind": "SystemExit", "message": "the tool ended its process"}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != OWN]
    own = [frame for frame in frames if frame.filename == FILE]
    shown = traceback.TracebackException(type(error), error, error.__traceback__)
    _only_tool(shown, set())
    message = str(error)
    missing = _missing_grant(error, frames)
    text = "".join(shown.format())
    if missing:
        message = f"{message}: {missing}"
        text += missing + "\n"
    try:
        sys.stderr.write(text)
    except Exception:
        pass
    line = own[-1].lineno if own else getattr(error, "lineno", None)
    return {"kind": type(error).__name__, "message": message[:4000], "line": line}


def _only_tool(shown, seen):
    if shown is None or id(shown) in seen:
        return
    seen.add(id(shown))
    kept = [frame for frame in shown.stack if frame.filename != OWN]
    shown.stack = traceback.StackSummary.from_list(kept)
    _only_tool(shown.__cause__, seen)
    _only_tool(shown.__context__, seen)


def _missing_grant(error, frames):
    if not isinstance(error, OSError):
        return None
    network = isinstance(error, socket.gaierror) or any("socket" in os.path.basename(frame.filename) for frame in frames)
    if network or (error.errno == 1 and error.filename is None):
        if os.environ.get("HTTPS_PROXY", "").startswith("http://127.0.0.1:"):
            return "this tool reaches the hosts that were granted to it over the HTTP proxy in HTTPS_PROXY, and nothing else"
        return "this tool has no grant for the network"
    name = error.filename
    if isinstance(name, (str, bytes)) and error.errno in (1, 2, 13, 30):
        name = os.path.abspath(os.fsdecode(name))
        own = os.environ.get("HOME", "/tool/scratch")
        if not name.startswith((own + "/", "/tmp/")):
            return f"this tool has no grant for the folder {os.path.dirname(name)}"
    return None
