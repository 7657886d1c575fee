"""Commits that fail or take long: clients are told, nothing is acknowledged that is not there."""

import http.client
import json
import re
import threading
import time
import uuid

from harness import check, eventually


def test_a_full_disk_is_a_503_and_heals_by_itself(server):
    server.start()
    agent = server.make_agent()
    server.faults.write_text("commit fail\n")
    status, body = server.send(agent, f"lost {uuid.uuid4()}")
    assert status == 503, body
    status, _ = server.request("POST", "/v1/blocks/", {"label": "x", "value": "y"})
    assert status == 503
    status, _ = server.request("GET", "/v1/health/")
    assert status == 200, "health waits for nothing"
    server.faults.write_text("")
    text = f"kept {uuid.uuid4()}"
    eventually(lambda: server.send(agent, text)[0] == 200, 10, "the next message works")
    check(server, agent, [text])


def test_a_disk_that_fills_in_the_middle_of_a_turn_acknowledges_nothing(server):
    server.start()
    agent = server.make_agent()
    text = f"half {uuid.uuid4()}"
    answers = []
    talker = threading.Thread(target=lambda: answers.append(server.send(agent, f"{text} [[sleep 500]]")))
    talker.start()
    eventually(lambda: server.pages(f"/v1/runs/?agent_id={agent}"), 10, "the run is accepted")
    server.faults.write_text("commit fail\n")
    talker.join()
    assert answers[0][0] == 503, answers
    server.faults.write_text("")
    check(server, agent, [], [text])


def test_slow_commits_delay_answers_and_nothing_else(server):
    server.start()
    agent = server.make_agent()
    server.faults.write_text("commit slow 200\n")
    text = f"slow {uuid.uuid4()}"
    status, _ = server.send(agent, text)
    assert status == 200
    started = time.monotonic()
    assert server.request("GET", "/v1/health/")[0] == 200
    assert time.monotonic() - started < 1
    server.faults.write_text("")
    check(server, agent, [text])


def test_a_background_run_whose_end_cannot_be_stored_ends_when_it_can(server):
    server.start()
    agent = server.make_agent()
    text = f"later {uuid.uuid4()}"
    body = {"messages": [{"role": "user", "content": f"{text} [[sleep 500]]"}]}
    status, run = server.request("POST", f"/v1/agents/{agent}/messages/async", body)
    assert status == 200, run
    server.faults.write_text("commit fail\n")
    # Longer than the tries that a run's end gets before it is put off.
    time.sleep(3)
    server.faults.write_text("")
    after = f"after {uuid.uuid4()}"
    eventually(lambda: server.send(agent, after)[0] == 200, 20, "the conversation is free again")
    check(server, agent, [after], [text])
    status, frames = server.request("POST", f"/v1/runs/{run['id']}/stream", {"starting_after": 0})
    assert status == 200 and "[DONE]" in frames, "its events can be read to their end"


def test_an_acceptance_whose_answer_was_lost_blocks_nothing(server):
    server.start()
    agent = server.make_agent()
    server.faults.write_text("commit unheard\n")
    said = {"role": "user", "content": f"unheard {uuid.uuid4()}", "otid": str(uuid.uuid4())}
    status, body = server.request("POST", f"/v1/agents/{agent}/messages", {"messages": [said]})
    assert status == 503, body
    server.faults.write_text("")
    text = f"next {uuid.uuid4()}"
    status, body = server.send(agent, text)
    assert status == 200, body
    again = lambda: server.request("POST", f"/v1/agents/{agent}/messages", {"messages": [said]})[0] == 200
    eventually(again, 20, "the message can be sent again under its otid")
    check(server, agent, [text, said["content"]])


def test_a_turn_that_is_accepted_with_the_end_of_the_one_before_knows_what_was_said_there(server, monkeypatch):
    config = server.folder / "mnemic.toml"
    config.write_text(
        f'[[providers]]\nname = "echo"\nbase_url = "http://{server.model.address}/v1"\necho_reasoning = true\n'
    )
    monkeypatch.setenv("MNEMIC_CONFIG", str(config))
    server.start()
    status, agent = server.request("POST", "/v1/agents/", {"model": "echo/scripted"})
    assert status == 200, agent
    control = http.client.HTTPConnection(server.model.address)
    control.request("POST", "/control", json.dumps({"record": True}))
    control.getresponse().read()
    server.faults.write_text("commit slow 1000\n")
    first, second = f"first {uuid.uuid4()}", f"second {uuid.uuid4()}"

    def later(seconds, *request):
        timer = threading.Timer(seconds, lambda: answers.append(request[0](*request[1:])))
        timer.start()
        return timer

    # The block's commit is slow enough that the end of the first turn and the acceptance of the second
    # wait for the writer together.
    answers = []
    timers = [
        later(0, server.send, agent["id"], f"{first} [[sleep 1500]]"),
        later(1.2, server.request, "POST", "/v1/blocks/", {"label": "a", "value": "b"}),
        later(1.8, server.send, agent["id"], second),
    ]
    for timer in timers:
        timer.join()
    server.faults.write_text("")
    assert [status for status, _ in answers] == [200] * 3, answers
    control.request("GET", "/requests")
    requests = [json.dumps(request) for request in json.loads(control.getresponse().read())]
    [of_second] = [request for request in requests if second in request]
    assert first in of_second, "the model is told what was said before"
    check(server, agent["id"], [first, second])


def commits(server):
    """How many the server has made since its start."""
    _, told = server.request("GET", "/metrics")
    return int(re.search(r"^mnemic_commits_total (\d+)$", told, re.MULTILINE).group(1))


def test_a_turn_with_three_tools_in_parallel_costs_at_most_four_commits(server):
    server.start()
    tool = {
        "source_code": 'def note(word: str) -> str:\n    """Notes.\n\n    Args:\n        word: what to note\n    """\n    return word\n',
        "enable_parallel_execution": True,
    }
    status, made = server.request("POST", "/v1/tools/", tool)
    assert status == 200, made
    agent = server.make_agent()
    status, attached = server.request("PATCH", f"/v1/agents/{agent}/tools/attach/{made['id']}")
    assert status == 200, attached
    calls = " ".join(f'[[call note {{"word": "{word}"}}]]' for word in ("one", "two", "three"))
    costs = []
    for _ in range(3):
        before = commits(server)
        status, answer = server.send(agent, calls)
        costs.append(commits(server) - before)
        assert status == 200, answer
    # What the server commits by itself may fall into a turn, but hardly into each.
    assert 0 < min(costs) <= 4, costs
    returns = [m for m in answer["messages"] if m["message_type"] == "tool_return_message"]
    assert len(returns) == 3 or len(returns[0]["tool_returns"]) == 3
