"""Commits that fail or take long: clients are told, nothing is acknowledged that is not there."""

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
    import threading

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
