"""Plans: what agents, end users and keys may use, and what those are told who have used it."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import httpx
import letta_client
import pytest
from test_keys import caller, make_agent, make_key, make_token
from test_usage import with_prices

from programs import Server, eventually

SETTINGS = """
[plans.few]
messages_per_day = 3
messages_per_month = 100

[plans.many]
messages_per_day = 1000

[plans.short]
tokens_per_month = 10

[plans.poor]
cost_per_month = 0.000001

[plans.small]
stored_bytes = 400

[limits]
user = "few"
"""

def with_plans(server):
    settings = server.folder / "mnemic.toml"
    settings.write_text(SETTINGS)
    server.environment["MNEMIC_CONFIG"] = str(settings)
    return server


@pytest.fixture(autouse=True)
def within_one_day():
    """No test begins so shortly before a new day that what it used is forgotten before it ends."""
    now = datetime.now(timezone.utc)
    left = (midnight_after(now) - now).total_seconds()
    if left < 90:
        time.sleep(left + 1)


def midnight_after(now):
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


@pytest.fixture(scope="module")
def server(engine, model):
    limited = with_plans(with_prices(Server(engine, model), model))
    with contextlib.closing(limited):
        yield limited.start()


@pytest.fixture(scope="module")
def admin(server):
    with caller(server) as open_server:
        key = make_key(open_server, "admin")["key"]
    with caller(server, key) as http:
        yield http


def say(http, agent, user=None, text="the wind"):
    return http.post(f"/v1/agents/{agent}/messages", json={"input": text} | ({"user_id": user} if user else {}))


def give(admin, plan, **whom):
    answer = admin.put("/v1/limits", json={"plan": plan} | whom)
    assert answer.status_code == 200, answer.text
    return answer.json()


def limits(http, **whom):
    answer = http.get("/v1/limits", params=whom)
    assert answer.status_code == 200, answer.text
    return answer.json()


def left(http, **whom):
    return {one["name"]: one["remaining"] for one in limits(http, **whom)["limits"]}


def refused(answer, name):
    assert answer.status_code == 429, answer.text
    told = answer.json()
    assert told["limit"]["name"] == name, told
    assert told["limit"]["remaining"] == 0
    return told


def test_a_user_who_has_used_a_days_messages_is_told_what_is_left_and_until_when(admin):
    agent = make_agent(admin)
    assert [say(admin, agent, "ulla").status_code for _ in range(3)] == [200] * 3
    answer = say(admin, agent, "ulla")
    told = refused(answer, "messages_per_day")
    assert (told["of"], told["plan"], told["limit"]["used"], told["limit"]["most"]) == ("user", "few", 3, 3)
    assert {one["name"]: one["remaining"] for one in told["limits"]} == {"messages_per_day": 0, "messages_per_month": 97}
    midnight = midnight_after(datetime.now(timezone.utc))
    assert datetime.fromisoformat(told["limit"]["resets_at"]) == midnight
    wait = int(answer.headers["retry-after"])
    assert abs((midnight - datetime.now(timezone.utc)).total_seconds() - wait) < 60
    assert answer.headers["x-should-retry"] == "false"
    assert "messages_per_day = 3" in told["detail"]
    # Nobody else is concerned, nor is who speaks for nobody.
    assert say(admin, agent, "vera").status_code == 200
    assert say(admin, agent).status_code == 200


def test_what_was_refused_leaves_nothing_behind_and_counts_nothing(admin):
    agent = make_agent(admin)
    for _ in range(3):
        say(admin, agent, "wanda")
    before = limits(admin, user_id="wanda")
    runs = admin.get("/v1/runs/", params={"agent_id": agent}).json()
    refused(say(admin, agent, "wanda"), "messages_per_day")
    assert limits(admin, user_id="wanda") == before
    assert admin.get("/v1/runs/", params={"agent_id": agent}).json() == runs
    give(admin, "many", user_id="wanda")
    assert left(admin, user_id="wanda") == {"messages_per_day": 997}
    assert say(admin, agent, "wanda").status_code == 200
    assert give(admin, None, user_id="wanda")["plan"] == "few"
    refused(say(admin, agent, "wanda"), "messages_per_day")


def test_many_at_once_get_no_more_than_there_is(admin):
    agents = [make_agent(admin) for _ in range(4)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: say(admin, agents[n % 4], "xenia").status_code, range(12)))
    assert sorted(answers) == [200] * 3 + [429] * 9


def test_a_retry_of_an_accepted_message_is_no_second_message(admin):
    agent = make_agent(admin)
    said = {"messages": [{"role": "user", "content": "the wind", "otid": "same"}], "user_id": "yrsa"}
    for _ in range(5):
        assert admin.post(f"/v1/agents/{agent}/messages", json=said).status_code == 200
    assert left(admin, user_id="yrsa")["messages_per_day"] == 2


def test_deleting_gives_no_messages_back(admin):
    agent = make_agent(admin)
    say(admin, agent, "zita")
    assert admin.delete(f"/v1/agents/{agent}").status_code == 200
    assert left(admin, user_id="zita")["messages_per_day"] == 2


def test_tokens_and_money_are_counted_as_the_provider_says_and_end_with_the_plan(admin):
    agent = make_agent(admin)
    give(admin, "short", user_id="anna")
    used = say(admin, agent, "anna").json()["usage"]["total_tokens"]
    [tokens] = limits(admin, user_id="anna")["limits"]
    assert tokens["used"] == used > tokens["most"] == 10
    refused(say(admin, agent, "anna"), "tokens_per_month")
    give(admin, "poor", agent_id=agent)
    usage = say(admin, agent, "bea").json()["usage"]
    [money] = limits(admin, agent_id=agent)["limits"]
    assert money["used"] == pytest.approx((2 * usage["prompt_tokens"] + 10 * usage["completion_tokens"]) / 1e6, abs=1e-6)
    told = refused(say(admin, agent, "bea"), "cost_per_month")
    # A person learns that the agent's limit is reached, and nothing of what others used.
    assert (told["of"], told["limits"]) == ("agent", [])
    answer = admin.post(f"/v1/agents/{agent}/generate", json={"prompt": "the wind"})
    refused(answer, "cost_per_month")


def test_what_somebody_stores_is_limited_wherever_it_comes_from(admin):
    agent, memory = make_agent(admin), {"content": "x" * 500, "type": "archival_memory"}

    def add(user):
        return admin.post(f"/v1/agents/{agent}/memory", json=memory | {"user_id": user})

    # What is stored is measured at the most once a minute: of these two nobody has measured it before they have too much.
    for user in ("cleo", "dora"):
        assert add(user).is_success
        give_limits = admin.put("/v1/limits", json={"plan": "small", "user_id": user})
        assert give_limits.json()["limits"][0]["used"] >= 500
    told = refused(add("cleo"), "stored_bytes")
    assert told["limit"]["resets_at"] is None
    answer = say(admin, agent, "dora")
    refused(answer, "stored_bytes")
    assert answer.headers["x-should-retry"] == "false" and "retry-after" not in answer.headers
    assert add("eva").is_success


def test_a_key_and_its_user_tokens_have_one_limit(server, admin):
    made = make_key(admin, "agent")
    agent = make_agent(admin)
    give(admin, "few", api_key_id=made["id"])
    with caller(server, made["key"]) as http:
        token = make_token(http, agent, "emil")
        give(admin, "many", user_id="emil")
        with caller(server, token) as browser:
            assert browser.post(f"/v1/agents/{agent}/messages", json={"input": "hi"}).status_code == 200
            assert limits(browser)["id"] == "emil"
            assert browser.get("/v1/limits", params={"user_id": "other"}).status_code == 403
            for others in ({"agent_id": agent}, {"api_key_id": made["id"]}):
                assert browser.get("/v1/limits", params=others).status_code == 403
            assert browser.put("/v1/limits", json={"plan": "many", "user_id": "emil"}).status_code == 403
        for _ in range(2):
            assert say(http, agent).status_code == 200
        refused(say(http, agent), "messages_per_day")
        assert http.put("/v1/limits", json={"plan": "many", "api_key_id": made["id"]}).status_code == 403
    assert say(admin, agent).status_code == 200


def test_streams_openai_clients_and_batches_meet_the_same_limits(server, admin):
    agent = make_agent(admin)
    give(admin, "few", agent_id=agent)
    for _ in range(3):
        say(admin, agent)
    with pytest.raises(letta_client.RateLimitError) as raised:
        letta_client.Letta(base_url=server.url, api_key=admin.headers["authorization"].split()[1]).agents.messages.create(
            agent, input="hi"
        )
    assert raised.value.body["limit"]["name"] == "messages_per_day"
    refused(admin.post(f"/v1/agents/{agent}/messages/stream", json={"input": "hi"}), "messages_per_day")
    chat = admin.post("/v1/chat/completions", json={"model": agent, "messages": [{"role": "user", "content": "hi"}]})
    assert chat.status_code == 429
    assert "messages_per_day" in chat.json()["error"]["message"]
    asked = {"requests": [{"agent_id": agent, "messages": [{"role": "user", "content": "hi"}]}]}
    batch = admin.post("/v1/messages/batches", json=asked).json()["id"]
    batched = f"/v1/messages/batches/{batch}"
    eventually(lambda: admin.get(batched).json()["status"] in ("completed", "failed"), "the batch is over")
    assert len(admin.get("/v1/runs/", params={"agent_id": agent}).json()) == 3


def test_who_is_forgotten_has_the_usual_plan_and_nothing_counted(admin):
    agent = make_agent(admin)
    give(admin, "many", user_id="gina")
    assert say(admin, agent, "gina").status_code == 200
    assert admin.delete("/v1/end-users/gina").status_code == 200
    told = limits(admin, user_id="gina")
    assert (told["plan"], told["own_plan"], {one["used"] for one in told["limits"]}) == ("few", False, {0})


def test_an_answer_to_a_call_is_part_of_its_message_and_compacting_needs_tokens(admin):
    agent = make_agent(admin, tools=["archival_memory_insert"])
    asks = admin.patch(f"/v1/agents/{agent}/tools/approval/archival_memory_insert", json={"requires_approval": True})
    assert asks.status_code == 200, asks.text
    give(admin, "few", agent_id=agent)
    for _ in range(2):
        say(admin, agent)
    asked = say(admin, agent, text='[[call archival_memory_insert {"content": "x"}]]').json()
    assert asked["stop_reason"]["stop_reason"] == "requires_approval"
    refused(admin.post(f"/v1/agents/{agent}/generate", json={"prompt": "hi"}), "messages_per_day")
    [request] = [one for one in asked["messages"] if one["message_type"] == "approval_request_message"]
    answer = {"type": "approval", "approve": True, "approval_request_id": request["id"]}
    answered = admin.post(f"/v1/agents/{agent}/messages", json={"messages": [answer]})
    assert answered.status_code == 200, answered.text
    give(admin, "short", agent_id=agent)
    refused(admin.post(f"/v1/agents/{agent}/summarize", json={}), "tokens_per_month")


def test_a_retry_is_answered_also_where_nothing_more_may_be_stored(admin):
    agent = make_agent(admin)
    said = {"messages": [{"role": "user", "content": "x" * 600, "otid": "first"}], "user_id": "hugo"}
    first = admin.post(f"/v1/agents/{agent}/messages", json=said).json()
    give(admin, "small", user_id="hugo")
    refused(say(admin, agent, "hugo"), "stored_bytes")
    again = admin.post(f"/v1/agents/{agent}/messages", json=said)
    assert again.status_code == 200, again.text
    assert [one["id"] for one in again.json()["messages"]] == [one["id"] for one in first["messages"]]
    refused(admin.post(f"/v1/agents/{agent}/memory", json={"content": "tea", "type": "core_memory", "user_id": "hugo"}), "stored_bytes")
    # Who has deleted something need not wait until it is measured again.
    assert admin.delete("/v1/end-users/hugo").status_code == 200
    give(admin, "small", user_id="hugo")
    assert say(admin, agent, "hugo").status_code == 200


def test_plans_are_listed_and_what_is_wrong_is_named(admin):
    told = admin.get("/v1/plans").json()
    assert {plan["name"] for plan in told["plans"]} == {"few", "many", "short", "poor", "small"}
    assert told["usual"] == {"agent": None, "api_key": None, "user": "few"}
    for body, status in [
        ({"plan": "gold", "user_id": "a"}, 422),
        ({"plan": "few"}, 422),
        ({"plan": "few", "user_id": "a", "agent_id": "agent-1"}, 422),
        ({"plan": "few", "user_id": ""}, 422),
        ({"user_id": "a"}, 422),
        ({"plan": "few", "agent_id": "agent-00000000-0000-4000-8000-000000000009"}, 404),
        ({"plan": "few", "agent_id": "x"}, 422),
    ]:
        assert admin.put("/v1/limits", json=body).status_code == status, body
    assert admin.get("/v1/limits").status_code == 422


def test_limits_survive_a_restart(engine, model):
    limited = with_plans(Server(engine, model))
    with contextlib.closing(limited):
        limited.start()
        with httpx.Client(base_url=limited.url, timeout=30) as http:
            agent = make_agent(http)
            give(http, "few", agent_id=agent)
            for _ in range(3):
                say(http, agent)
        limited.kill()
        limited.start()
        with httpx.Client(base_url=limited.url, timeout=30) as http:
            refused(say(http, agent), "messages_per_day")


def test_without_plans_nothing_is_counted(engine, model):
    with contextlib.closing(Server(engine, model).start()) as free, httpx.Client(base_url=free.url, timeout=30) as http:
        agent = make_agent(http)
        assert say(http, agent, "fred").status_code == 200
        told = limits(http, user_id="fred")
        assert (told["plan"], told["limits"]) == (None, [])
        assert http.put("/v1/limits", json={"plan": "few", "user_id": "fred"}).status_code == 422
