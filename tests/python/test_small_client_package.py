"""Our Python client as pip installs it: its wheel, with its types, in an environment of its own."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "clients" / "python"
USE = """
import asyncio

import mnemic
from mnemic import AsyncMnemicClient, LettaClient, MemoryChanges, MnemicClient, MnemicError, UserToken


def ask(client: MnemicClient) -> str:
    try:
        client.list_agents()
    except MnemicError as error:
        return error.code
    return "none"


async def ask_later(client: AsyncMnemicClient) -> UserToken:
    async with client.stream_message("agent-1", "hello") as stream:
        memory: MemoryChanges = await stream.memory()
        assert memory.blocks[0].before is None
    return await client.create_user_token(agent_id="agent-1", user_id="ada")


print(ask(LettaClient(base_url="http://127.0.0.1:1", max_retries=0)), asyncio.iscoroutinefunction(ask_later), mnemic.__file__)
"""
MISUSE = 'from mnemic import MnemicClient\n\nMnemicClient().send_message("agent-1", 7)\n'


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", ".")
    run(*pip, str(CLIENT), cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel):
    """An interpreter that has the wheel, and what the client needs."""
    folder = wheel.parent / "own"
    run(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=wheel.parent)
    (packages,) = folder.glob("lib/python*/site-packages")
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(packages), str(wheel), cwd=folder)
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def test_its_wheel_has_types_and_licences_and_needs_httpx_alone(wheel):
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        (metadata,) = (name for name in names if name.endswith("METADATA"))
        needed = [line for line in packed.read(metadata).decode().splitlines() if line.startswith("Requires-Dist")]
    assert "mnemic/py.typed" in names and needed == ["Requires-Dist: httpx<1,>=0.27"]
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE-APACHE", "LICENSE-MIT"}
    assert {name.split("/")[0].split("-")[0] for name in names} == {"mnemic", "mnemic_client"}


def test_programs_use_what_was_installed_with_its_types(installed, tmp_path):
    (tmp_path / "use.py").write_text(USE)
    (tmp_path / "misuse.py").write_text(MISUSE)
    code, is_coroutine, place = run(str(installed), "use.py", cwd=tmp_path).split()
    assert (code, is_coroutine) == ("network_error", "True") and str(installed.parents[1]) in place
    checks = (sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed))
    run(*checks, "use.py", cwd=tmp_path)
    done = subprocess.run([*checks, "misuse.py"], cwd=tmp_path, capture_output=True, text=True)
    assert 'has incompatible type "int"; expected "str"' in done.stdout, done.stdout


def test_the_clients_own_types_hold(tmp_path):
    run(sys.executable, "-m", "mypy", "--config-file", str(CLIENT / "pyproject.toml"), "--cache-dir", str(tmp_path), cwd=CLIENT)
