"""Runs one call of a tool in this process: reads it from a channel, answers there, and ends.

Whatever is checked here, a tool can undo: it runs in the same interpreter. What holds, holds outside of it.
"""

import __future__
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
# Hints are looked up when they are needed: a type that is not there is no reason not to run.
LATE_HINTS = __future__.annotations.compiler_flag


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
        answer = _answer(request, answers)
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
    try:
        _write(answers, text)
    finally:
        os._exit(0)


def _write(channel, text):
    view = memoryview(struct.pack("<I", min(len(text), 0xFFFFFFFF)) + text)
    while view:
        view = view[os.write(channel, view) :]


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


def _answer(request, channel):
    injected = dict(request["injected"])
    if request["door"]:
        door = Door(channel)
        injected["client"] = Client(door)
        for tool in request["tools"]:
            injected[tool["name"]] = _stub(door, **tool)
    state = injected.get("agent_state")
    if state is not None:
        state = injected["agent_state"] = AgentState(state)
    value = _plain(_call(request, injected))
    changed = state.memory._changed() if state is not None else {}
    return {"changed": {"value": value, "memory": changed}} if changed else {"value": value}


def _call(request, injected):
    source = request["source"]
    linecache.cache[FILE] = (len(source), None, source.splitlines(True), FILE)
    module = types.ModuleType("tool")
    module.__file__ = FILE
    # The SDK sends a function without the imports above it.
    module.__dict__.update((name, getattr(typing, name)) for name in typing.__all__)
    sys.modules["tool"] = module
    if request["door"]:
        own = ["client", *(tool["name"] for tool in request["tools"])]
        module.__dict__.update((name, injected[name]) for name in own)
    if request["function"] is None:
        return _last_value(source, module.__dict__)
    exec(compile(source, FILE, "exec", LATE_HINTS, dont_inherit=True), module.__dict__)
    function = getattr(module, request["function"], None)
    if not callable(function):
        raise NameError(f"the source has no function {request['function']!r}")
    value = function(**_arguments(function, request["arguments"], injected))
    if inspect.isawaitable(value):
        value = asyncio.run(_awaited(value))
    return value


def _last_value(source, names):
    """Runs a source and returns the value of its last expression, if it ends in one."""
    import ast

    tree = ast.parse(source, FILE)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    names.update(exit=sys.exit, quit=sys.exit)
    try:
        exec(compile(tree, FILE, "exec", dont_inherit=True), names)
        if last is None:
            return None
        return eval(compile(ast.Expression(last.value), FILE, "eval", dont_inherit=True), names)
    except SystemExit as end:
        # A program may end itself where it is done.
        if end.code:
            raise
        return None


async def _awaited(value):
    return await value


def _arguments(function, given, injected):
    hints = _hints(function)
    arguments = {name: _coerced(value, hints.get(name, typing.Any)) for name, value in given.items()}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in arguments or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in injected:
            arguments[name] = injected[name]
        elif parameter.default is parameter.empty and (name == "self" or _takes_none(hints.get(name))):
            arguments[name] = None
    return arguments


def _hints(function):
    """The types of parameters; of those that nobody defined their names."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:
        pass
    hints = {}
    for name, hint in getattr(function, "__annotations__", {}).items():
        try:
            hints[name] = eval(hint, function.__globals__) if isinstance(hint, str) else hint
        except Exception:
            hints[name] = hint
    return hints


def _takes_none(hint):
    if typing.get_origin(hint) is typing.Annotated:
        return _takes_none(typing.get_args(hint)[0])
    return hint is type(None) or type(None) in typing.get_args(hint)


class Record(dict):
    """A JSON object whose members are attributes as well."""

    def __init__(self, fields):
        super().__init__({name: _record(value) for name, value in fields.items()})

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no {name!r} here; there are: {', '.join(self)}") from None

    def __setattr__(self, name, value):
        self[name] = value

    def model_dump(self, **_):
        return _plain(self)

    def dict(self, **_):
        return _plain(self)


def _record(value):
    if isinstance(value, dict):
        return Record(value)
    if isinstance(value, list):
        return [_record(item) for item in value]
    return value


class AgentState(Record):
    """The agent that calls, as it was when the call began. Changes of its memory are written back."""

    def __init__(self, fields):
        super().__init__(fields)
        memory = Memory(fields.get("memory", {}))
        self["memory"] = memory
        self["blocks"] = memory.blocks


class Memory(Record):
    """An agent's blocks of memory."""

    def __init__(self, fields):
        super().__init__(fields)
        dict.__setattr__(self, "_before", {block.label: block.value for block in self.blocks})

    def get_block(self, label):
        for block in self.blocks:
            if block.label == label:
                return block
        raise KeyError(f"the agent has no memory block {label!r}; it has: {', '.join(self.list_block_labels())}")

    def get_blocks(self):
        return self.blocks

    def list_block_labels(self):
        return [block.label for block in self.blocks]

    def update_block_value(self, label, value):
        if not isinstance(value, str):
            raise ValueError(f"a block's value is a text, not {type(value).__name__}")
        self.get_block(label).value = value

    def _changed(self):
        return {block.label: str(block.value) for block in self.blocks if block.value != self._before.get(block.label)}


def _coerced(value, hint):
    """The value as its hint names it, where that is clear; else the value as it is."""
    if isinstance(hint, (str, typing.ForwardRef)):
        # A class that is not in the source, as where its schema was given beside it.
        return _record(value)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _coerced(value, inner[0])
    if origin is typing.Union or origin is getattr(types, "UnionType", typing.Union):
        return _of_union(value, inner)
    if origin is typing.Literal:
        return next((one for one in inner if one == value or json.dumps(one, default=str) == value), value)
    named = getattr(hint, "__supertype__", getattr(hint, "__value__", None))
    if named is not None and not isinstance(hint, type):
        return _coerced(value, named)
    kind = origin or hint
    if isinstance(value, str) and kind in CONTAINERS:
        value = _written(value)
    if kind in LISTS and isinstance(value, list):
        items = [_coerced(item, inner[0] if inner else typing.Any) for item in value]
        return kind(items) if kind in (set, frozenset) else items
    if kind is tuple and isinstance(value, list):
        kinds = inner if inner and inner[1:] != (...,) else (inner[:1] or (typing.Any,)) * len(value)
        return tuple(_coerced(item, kind) for item, kind in zip(value, kinds)) if len(kinds) == len(value) else value
    if kind in MAPS and isinstance(value, dict):
        key, item = inner if len(inner) == 2 else (typing.Any, typing.Any)
        return {_coerced(name, key): _coerced(one, item) for name, one in value.items()}
    if not isinstance(hint, type) or origin is not None:
        return value
    if isinstance(value, str) and _has_members(hint):
        value = _written(value)
    if isinstance(value, dict) and _has_members(hint):
        return _object(value, hint)
    if issubclass(hint, enum.Enum):
        return hint(value) if not isinstance(value, hint) else value
    return _scalar(value, hint)


LISTS = (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable)
MAPS = (dict, collections.abc.Mapping)
CONTAINERS = (*LISTS, tuple, *MAPS)


def _written(text):
    """What a text holds where it is a list or an object in JSON, as some models write them; else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (list, dict)) else text


def _has_members(hint):
    return (
        any(hasattr(hint, name) for name in ("model_validate", "parse_obj", "__total__"))
        or dataclasses.is_dataclass(hint)
    )


def _object(value, hint):
    if hasattr(hint, "model_validate"):
        return hint.model_validate(value)
    if hasattr(hint, "parse_obj"):
        return hint.parse_obj(value)
    kinds = typing.get_type_hints(hint)
    members = {name: _coerced(item, kinds.get(name, typing.Any)) for name, item in value.items()}
    return hint(**members) if dataclasses.is_dataclass(hint) else members


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
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return _library(value, hint)
    return value


def _library(value, hint):
    """A value of the standard library's types that JSON has as text. They are not loaded for this: a hint that names one
    has loaded it."""
    where, name = hint.__module__, hint.__qualname__
    if where == "datetime" and name in ("date", "datetime", "time") and isinstance(value, str):
        # Before Python 3.11 a Z was not understood.
        text = value[:-1] + "+00:00" if value.endswith(("Z", "z")) else value
        return hint.fromisoformat(text[:10] if name == "date" else text)
    if (where, name) == ("uuid", "UUID") and isinstance(value, str):
        return hint(value)
    if name == "Decimal" and where in ("decimal", "_decimal", "_pydecimal"):
        return hint(str(value))
    if where.split(".")[0] == "pathlib" and isinstance(value, str):
        return hint(value)
    return value


def _plain(value):
    """What JSON can hold of a value; anything else becomes its text."""
    if isinstance(value, str) and not isinstance(value, enum.Enum):
        return _text(value)
    if value is None or isinstance(value, (bool, int, str)):
        value = value.value if isinstance(value, enum.Enum) else value
        # Longer ones than JSON's readers hold keep their digits as text.
        is_long = isinstance(value, int) and not -(2**63) <= value < 2**64
        return str(value) if is_long else value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    image = _image(value)
    if image is not None:
        return image
    # Pydantic 2 warns of whoever asks its models for the first's fields.
    for dump, fields in (("model_dump", "model_fields"), ("dict", "__fields__")):
        if hasattr(type(value), fields) and callable(getattr(value, dump, None)):
            return _plain(getattr(value, dump)())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {_text(key if isinstance(key, str) else str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=repr)
    return _text(str(value))


def _image(value):
    """An image as the server knows it: of bytes, or of what can show itself as notebooks want it (Pillow), or be saved
    as a file (Matplotlib)."""
    bits = None
    if isinstance(value, (bytes, bytearray, memoryview)):
        bits = bytes(value)
    elif callable(getattr(type(value), "_repr_png_", None)):
        bits = value._repr_png_()
    elif callable(getattr(type(value), "savefig", None)):
        import io

        file = io.BytesIO()
        value.savefig(file, format="png")
        bits = file.getvalue()
    is_image = isinstance(bits, bytes) and (
        bits.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"))
        or (bits[:4] == b"RIFF" and bits[8:12] == b"WEBP")
    )
    if not is_image:
        return None
    import base64

    return {"type": "image", "source": {"type": "base64", "data": base64.b64encode(bits).decode()}}


def _text(value):
    """A text that JSON can hold: halves of characters become question marks."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _words(error):
    try:
        return _text(str(error))
    except Exception:
        return "it can't be put into words"


def _report(error):
    """Writes the error to stderr, as seen from the tool's source, and says it in short."""
    if isinstance(error, SystemExit) and not error.code:
        return {"kind": "SystemExit", "message": "the tool ended its process"}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != OWN]
    own = [frame for frame in frames if frame.filename == FILE]
    shown = traceback.TracebackException(type(error), error, error.__traceback__)
    _only_tool(shown, set())
    message = _words(error)
    missing = _reason(error)
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


def _reason(error):
    """What this error, or one that it came from, says about packages and grants."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        missing = _missing_package(error) or _missing_grant(error, traceback.extract_tb(error.__traceback__))
        if missing:
            return missing
        error = error.__cause__ or error.__context__
    return None


def _missing_package(error):
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] not in sys.modules:
        return "no package of this tool's pip_requirements has it"
    return None


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
        # In its own folders a file may be missing; a folder that is missing there was meant to be the machine's.
        if not name.startswith((own + "/", "/tmp/")) or not os.path.isdir(os.path.dirname(name)):
            return f"this tool has no grant for the folder {os.path.dirname(name)}"
    return None
