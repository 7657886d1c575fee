"""mnemic chat: over a pipe, and in a terminal."""

import json
import os
import socket
import subprocess

import httpx
import pytest

from programs import DETECT_NOTHING, FOREIGN, MODEL, eventually, free_port, make_database, named, no_weights
from terminal import Terminal

CTRL_C, CTRL_D, ALT_ENTER, UP = "\x03", "\x04", "\x1b\r", "\x1b[A"
LONG = "[[words 4000]] [[delay 20]]"


class Chats:
    """Chats that share what they remember."""

    def __init__(self, model, folder):
        self.folder = folder
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith((*FOREIGN, "NO_COLOR"))},
            "MNEMIC_DATA_DIR": str(folder / "data"),
            **no_weights(folder),
            **DETECT_NOTHING,
            "OPENAI_API_KEY": "sk-none",
            "OPENAI_BASE_URL": f"http://{model.address}/v1",
        }
        self.open = []

    def piped(self, lines, *arguments, command="chat", **environment):
        return subprocess.run(
            [named("MNEMIC_BIN"), command, *arguments], input="".join(f"{line}\n" for line in lines),
            env=self.environment | environment, cwd=self.folder, capture_output=True, text=True, timeout=60,
        )

    def terminal(self, *arguments, **environment):
        command = [named("MNEMIC_BIN"), "chat", *arguments]
        self.open.append(Terminal(command, self.environment | environment, self.folder))
        return self.open[-1]


@pytest.fixture
def chats(model, tmp_path):
    made = Chats(model, tmp_path)
    yield made
    for terminal in made.open:
        terminal.close()


@pytest.fixture
def named_agent(make_agent, token):
    return make_agent(name=token)


@pytest.fixture
def terminal(chats, server, named_agent):
    """A chat with the agent in a terminal, ready for the first line."""
    opened = chats.terminal(named_agent.name, "--url", server.url)
    opened.sees(f"{named_agent.name}>")
    return opened


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# Over a pipe.


def test_lines_go_in_and_plain_words_come_out(chats, server, named_agent, token):
    done = chats.piped([f"[[echo]] hello {token}"], named_agent.name, "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"[[echo]] hello {token}\n"
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["chat", "run"])
def test_what_the_agent_does_is_told_beside_its_words(chats, server, named_agent, command):
    lines = ["Please remember the boat", "[[reasoning let me think]] hi"]
    done = chats.piped(lines, named_agent.id, "--url", server.url, command=command)
    assert done.stdout.startswith("Done: Ada sails.\nFact: Please remember the boat\nReply")
    for told in ("memory_insert", "memory block 'human'", "  + Fact: Please remember the boat", "let me think"):
        assert told in done.stderr, done.stderr


def test_a_line_that_ends_with_a_backslash_goes_on(chats, server, named_agent, token):
    done = chats.piped([f"[[echo]] one {token}\\", "two"], named_agent.name, "--url", server.url)
    assert done.stdout == f"[[echo]] one {token}\ntwo\n"


def test_commands_answer_on_standard_output(chats, server, client, named_agent):
    lines = [
        "/memory", "/memory human", "/tools", "/models", "/agents", "/model openai-proxy/scripted-small", "/model",
        "//slash [[echo]]", "/history 2", "/help",
    ]
    done = chats.piped(lines, named_agent.name, "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Ada sails.") == 2 and "human (10 of 100000 characters)" in done.stdout
    for said in (
        "memory_insert", f"* {MODEL}", f"* {named_agent.name}  {named_agent.id}",
        "thinks with openai-proxy/scripted-small.", "you: /slash [[echo]]", f"{named_agent.name}: /slash [[echo]]",
        "/remember TEXT",
    ):
        assert said in done.stdout, done.stdout
    assert client.agents.retrieve(named_agent.id).llm_config.handle == "openai-proxy/scripted-small"


def test_tools_that_wait_are_let_run_or_not(chats, server, client, named_agent, token):
    source = f'def f_{token}(a: int):\n    """d\n\n    Args:\n        a: n\n    """\n    return "ran " + str(a)'
    tool = client.tools.create(source_code=source, default_requires_approval=True)
    client.agents.tools.attach(tool.id, agent_id=named_agent.id)
    call = f"[[call {tool.name} {json.dumps({'a': 1})}]]"
    done = chats.piped([call, "/approve", call, "/deny not today", "/approve"], named_agent.name, "--url", server.url)
    assert done.stderr.count("/approve, or /deny REASON") == 2 and "ran 1" in done.stderr, done.stderr
    assert "not today" in done.stderr and "No tool call is currently awaiting approval" in done.stderr


def test_a_failed_line_is_told_and_the_next_is_read(chats, server, named_agent):
    lines = ["/memry", "/memory nope", "[[error 400]] x", "[[echo]] still here"]
    done = chats.piped(lines, named_agent.name, "--url", server.url)
    assert done.returncode == 1 and done.stdout == "[[echo]] still here\n"
    assert "did you mean /memory?" in done.stderr and "nope" in done.stderr
    assert "the model did not answer" in done.stderr


def test_an_unknown_agent_of_an_id_and_a_server_that_is_not_there_are_errors(chats, server):
    unknown = "agent-00000000-0000-4000-8000-0000000000ff"
    done = chats.piped(["hi"], unknown, "--url", server.url)
    assert done.returncode == 1 and unknown in done.stderr
    done = chats.piped(["hi"], "--url", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1 and "mnemic serve" in done.stderr and "--url" in done.stderr


def test_bytes_that_are_no_text_spoil_no_other_line(chats, server, named_agent):
    done = subprocess.run(
        [named("MNEMIC_BIN"), "chat", named_agent.name, "--url", server.url], input=b"[[echo]] a\xff\n[[echo]] next\r\n",
        env=chats.environment, cwd=chats.folder, capture_output=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == "[[echo]] a\ufffd\n[[echo]] next\n"


def test_a_mistyped_name_makes_no_agent_unless_that_is_wanted(chats, server, client, named_agent):
    mistyped = named_agent.name[:-2] + "xy"
    done = chats.piped(["hi"], mistyped, "--url", server.url)
    assert done.returncode == 1 and done.stdout == ""
    assert f"did you mean {named_agent.name}?" in done.stderr and "--yes" in done.stderr
    assert list(client.agents.list(name=mistyped)) == []
    assert chats.piped(["hi"], mistyped, "--url", server.url, "--yes").returncode == 0
    assert len(list(client.agents.list(name=mistyped))) == 1


@pytest.mark.parametrize("url", ["notaurl", "127.0.0.1:8283"])
def test_an_address_that_is_none_is_told(chats, url):
    done = chats.piped(["hi"], "Zed", "--url", url)
    assert done.returncode == 1 and f"'{url}' is no URL" in done.stderr and "may have reached" not in done.stderr


def test_the_password_is_given_by_flag_or_variable(chats, own_server):
    server = own_server(MNEMIC_SECURE="true", MNEMIC_PASSWORD="sesame")
    line = ["/agents"]
    done = chats.piped(line, "Ada", "--url", server.url)
    assert done.returncode == 1 and "--token" in done.stderr
    assert chats.piped(line, "Ada", "--url", server.url, "--token", "sesame").returncode == 0
    for variable in ("MNEMIC_TOKEN", "LETTA_API_KEY"):
        done = chats.piped(line, "--url", server.url, **{variable: "sesame"})
        assert done.returncode == 0 and "* Ada" in done.stdout, done.stderr


def test_a_wrong_password_and_an_unknown_name_are_told(chats, own_server, server):
    locked = own_server(MNEMIC_SECURE="true", MNEMIC_PASSWORD="sesame")
    done = chats.piped(["hi"], "--url", locked.url, "--token", "open up")
    assert done.returncode == 1 and done.stdout == "" and "--token" in done.stderr
    done = chats.piped(["/agents nobody"], "--url", locked.url, "--token", "sesame")
    assert done.returncode == 1 and "there is no agent 'nobody'" in done.stderr


def test_how_full_the_context_is_is_told_and_it_is_compacted(chats, server, named_agent, token):
    lines = ["/context", *(f"fact-{n} {token}" for n in range(4)), "/context", "/compact", "/history 20"]
    done = chats.piped(lines, named_agent.name, "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert " of 128000 tokens" in done.stdout and "9 messages in the context became 7." in done.stdout
    assert "system_alert" not in done.stdout and "(The earlier part of this conversation" in done.stdout
    for n in range(4):
        assert f"you: fact-{n} {token}" in done.stdout, "what left the context is still in the history"


def test_a_search_is_told_in_a_few_lines(chats, server, named_agent, token):
    lines = [f"The boat {token} is blue", f'[[call conversation_search {{"query": "{token}"}}]] which colour?']
    done = chats.piped(lines, named_agent.name, "--url", server.url)
    assert f"· conversation_search {{\"query\": \"{token}\"}}" in done.stderr
    assert "  → " in done.stderr and f"    user: The boat {token} is blue" in done.stderr
    assert '{"message"' not in done.stderr


def test_without_a_model_one_is_told_how_to_get_one(chats, own_server):
    server = own_server(with_model=False)
    done = chats.piped(["hi"], "--url", server.url)
    assert done.returncode == 1 and "OPENAI_API_KEY" in done.stderr and "mnemic configure" in done.stderr


def test_a_server_is_started_when_none_runs_and_stopped_at_the_end(chats, engine):
    environment = {"MNEMIC_DATABASE_URL": make_database()} if engine == "postgres" else {}
    port = str(free_port())
    done = chats.piped(["[[echo]] first", "/quit", "unread"], "--port", port, **environment)
    assert done.returncode == 0 and done.stdout == "[[echo]] first\n", done.stderr
    assert "no server was running" in done.stderr and not is_listening(int(port))
    # The agent that was made is the one that is talked to from then on.
    done = chats.piped(["/history"], "--port", port, **environment)
    assert "you: [[echo]] first" in done.stdout, done.stderr


def test_a_running_server_is_used_and_left_running(chats, own_server):
    server = own_server()
    done = chats.piped(["[[echo]] hi"], "--port", str(server.port), "--yes")
    assert done.stdout == "[[echo]] hi\n" and "no server was running" not in done.stderr
    assert httpx.get(f"{server.url}/v1/health/").status_code == 200


def test_what_listens_but_is_no_server_of_ours_is_told(chats, model):
    done = chats.piped(["hi"], "--port", model.address.rsplit(":", 1)[1])
    assert done.returncode == 1 and "no Mnemic server" in done.stderr


# In a terminal.


def test_a_memory_edit_is_shown_as_a_diff_in_colours(terminal):
    terminal.enters('[[call memory_replace {"label": "human", "old_string": "sails", "new_string": "rows"}]]')
    terminal.sees("· memory_replace")
    terminal.sees("memory block 'human'")
    terminal.sees("- Ada sails.")
    terminal.sees("+ Ada rows.")
    terminal.sees("Done: Ada rows.")
    assert b"\x1b[31m  - Ada sails." in terminal.raw and b"\x1b[32m  + Ada rows." in terminal.raw


def test_no_color_is_honoured(chats, server, named_agent):
    terminal = chats.terminal(named_agent.name, "--url", server.url, NO_COLOR="1")
    terminal.sees(f"{named_agent.name}>")
    terminal.enters("Please remember the boat")
    terminal.sees("+ Fact: Please remember the boat")
    terminal.sees("Done:")
    assert b"\x1b[3" not in terminal.raw and b"\x1b[2m" not in terminal.raw


def test_words_are_shown_as_they_come(terminal):
    terminal.enters("[[words 60]] [[delay 50]] tell me")
    terminal.sees("noted the point")
    looked = terminal.looked
    assert terminal.text.find(">", looked) < 0, "the answer is not over yet"
    terminal.sees(">")


def test_ctrl_c_cancels_the_turn_and_the_next_line_works(terminal, client, named_agent):
    terminal.enters(LONG)
    terminal.sees("noted the point")
    terminal.types(CTRL_C)
    terminal.sees("(cancelled)")
    terminal.sees(">")
    terminal.enters("[[echo]] go on")
    terminal.sees("[[echo]] go on\n[[echo]] go on")
    # The words are shown before the run's end is.
    ended = ["cancelled", "completed"]
    eventually(lambda: sorted(run.status for run in client.runs.list(agent_id=named_agent.id)) == ended, ended)


def test_lines_that_are_typed_while_the_agent_talks_are_all_read(terminal, model, token):
    terminal.enters("[[words 40]] [[delay 50]] tell me")
    terminal.sees("noted the point")
    terminal.enters(f"[[echo]] one {token}")
    terminal.enters("/memory human")
    terminal.enters(f"[[echo]] two {token}")
    for said in (f"> [[echo]] one {token}", "> /memory human", "Ada sails.", f"> [[echo]] two {token}"):
        terminal.sees(said)
    terminal.sees(f"[[echo]] two {token}")
    assert len(model.requests(f"two {token}")) == 1
    terminal.sees(">")
    terminal.types(UP + UP)
    terminal.sees("/memory human")


def test_a_second_ctrl_c_leaves(terminal):
    terminal.types(CTRL_C)
    terminal.sees("(Ctrl-C again, or Ctrl-D, leaves)")
    terminal.types(CTRL_C)
    assert terminal.ends() == 0


def test_ctrl_d_leaves(terminal):
    terminal.types(CTRL_D)
    assert terminal.ends() == 0


def test_a_message_may_have_several_lines(terminal, model, token):
    terminal.types(f"one {token}{ALT_ENTER}two\\")
    terminal.enters("")
    terminal.enters("three")
    terminal.sees("Reply")
    assert model.last_request(token)["messages"][-1]["content"] == f"one {token}\ntwo\nthree"


def test_lines_of_earlier_chats_are_brought_back(chats, server, named_agent, terminal, model, token):
    terminal.enters(f"hello {token}")
    terminal.sees("Reply")
    terminal.sees(">")
    terminal.enters("/quit")
    assert terminal.ends() == 0
    again = chats.terminal("--url", server.url)
    again.sees(f"{named_agent.name}>")
    again.types(UP + UP)
    again.sees(f"hello {token}")
    again.enters("")
    again.sees("Reply")
    assert len(model.requests(f"hello {token}")) == 2


def test_what_stands_in_the_memory_cannot_steer_the_terminal(terminal, client, named_agent):
    client.agents.blocks.update("human", agent_id=named_agent.id, value="a\x1b]0;owned\x07b")
    terminal.enters("/memory human")
    terminal.sees("owned")
    assert b"\x1b]0;owned" not in terminal.raw


def test_when_the_server_dies_that_is_told_and_the_next_line_works_after_its_restart(chats, own_server):
    server = own_server()
    terminal = chats.terminal("--url", server.url, "--yes")
    terminal.sees("Companion>")
    terminal.enters(LONG)
    terminal.sees("noted the point")
    server.kill()
    terminal.sees("the connection to the server broke")
    terminal.sees("Companion>")
    terminal.enters("anybody there?")
    terminal.sees("no server answers")
    server.start()
    terminal.sees("Companion>")
    terminal.enters("/agents")
    terminal.sees("* Companion")


def test_a_server_that_is_gone_is_replaced_where_its_address_was_not_given(chats, own_server):
    server = own_server()
    environment = {k: v for k, v in server.environment.items() if k == "MNEMIC_DATABASE_URL"}
    data = str(server.folder / "data")
    terminal = chats.terminal("--port", str(server.port), "--data-dir", data, "--yes", **environment)
    terminal.sees("Companion>")
    terminal.enters("[[echo]] one")
    terminal.sees("[[echo]] one\n[[echo]] one")
    terminal.sees("Companion>")
    server.kill()
    terminal.enters("/history")
    terminal.sees("one runs now as long as this chat")
    terminal.sees("you: [[echo]] one")
    terminal.sees("Companion>")
    terminal.types(CTRL_D)
    assert terminal.ends() == 0
    eventually(lambda: not is_listening(server.port), "the server of the chat is stopped")


def test_the_first_agent_is_made_by_answering_questions(chats, own_server, own_client):
    server = own_server()
    terminal = chats.terminal("--url", server.url)
    terminal.sees("What is the first one to be called?")
    terminal.enters("Ada")
    terminal.sees("Which model")
    terminal.enters("")
    terminal.sees("Ada>")
    (agent,) = own_client(server).agents.list()
    assert agent.name == "Ada"
    assert {block.label for block in own_client(server).agents.blocks.list(agent.id)} == {"human", "persona"}


def test_nothing_is_asked_where_no_agent_can_be_made(chats, own_server):
    terminal = chats.terminal("--url", own_server(with_model=False).url)
    terminal.sees("no model is configured")
    assert terminal.ends() == 1 and "called?" not in terminal.text


def test_a_model_of_this_process_is_offered_with_its_size_where_there_is_none(chats, own_server):
    terminal = chats.terminal("--url", own_server(with_model=False).url, MNEMIC_OFFLINE="false")
    terminal.sees("There is no model yet. Fetch local/")
    terminal.sees("MB")
    terminal.enters("n")
    terminal.sees("no model is configured")
    assert terminal.ends() == 1


def test_another_agent_is_made_and_talked_to(terminal, client, token):
    terminal.enters("/new")
    terminal.sees("What is the new agent to be called?")
    terminal.enters(f"new-{token}")
    terminal.sees("Which model")
    terminal.enters("")
    terminal.sees(f"new-{token}>")
    assert [agent.name for agent in client.agents.list(name=f"new-{token}")] == [f"new-{token}"]


@pytest.mark.parametrize("has_toy", [False, True], ids=["nothing is there", "a model of the process is there"])
def test_a_configured_provider_that_does_not_answer_is_named_and_nothing_takes_its_place(chats, has_toy):
    if has_toy:
        toy = chats.folder / "models" / "smollm2-135m" / "SmolLM2-135M-Instruct.Q4_1.gguf"
        toy.parent.mkdir(parents=True)
        with toy.open("wb") as file:
            file.truncate(98_362_432)
    nowhere = "http://127.0.0.1:9"
    done = chats.piped(
        ["hi"], "--yes", "--port", str(free_port()), OPENAI_BASE_URL=f"{nowhere}/v1", HF_ENDPOINT=nowhere,
        MNEMIC_OFFLINE="false", MNEMIC_MODELS_FETCH="false", PATH="/usr/bin:/bin",
    )
    assert done.returncode == 1 and not done.stdout
    assert "openai is configured but does not answer" in done.stderr and nowhere in done.stderr
    assert "local/" not in done.stderr and "Companion" not in done.stderr
    if not has_toy:
        assert not (chats.folder / "models" / "smollm2-135m").exists()
