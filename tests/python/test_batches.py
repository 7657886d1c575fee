"""Message batches, and the jobs as which they and background runs are seen."""

import pytest

from programs import eventually
from talk import user
from test_callbacks import Receiver


def request(agent, text):
    return {"agent_id": agent.id, "messages": [user(text)]}


def create(http, requests, **options):
    made = http.post("/v1/messages/batches", json={"requests": requests, **options})
    assert made.status_code == 200, made.text
    return made.json()


def ended(http, batch):
    def over():
        found = http.get(f"/v1/messages/batches/{batch['id']}").json()
        return found["status"] in ("completed", "failed", "cancelled") and found

    return eventually(over, "the batch is over")


def test_every_request_of_a_batch_becomes_one_run(client, http, agent, token):
    texts = [f"request {n} {token}" for n in range(6)]
    batch = create(http, [request(agent, text) for text in texts])
    assert batch["id"].startswith("job-") and batch["job_type"] == "batch" and batch["status"] in ("created", "running")
    done = ended(http, batch)
    assert done["status"] == "completed" and done["metadata"]["requests"]["completed"] == 6
    said = http.get(f"/v1/messages/batches/{batch['id']}/messages", params={"order": "asc"}).json()["messages"]
    asked = [m["content"][0]["text"] for m in said if m["role"] == "user"]
    assert asked == texts
    runs = [one["run_id"] for one in done["metadata"]["results"]]
    assert len(set(runs)) == 6 and {m["run_id"] for m in said} == set(runs)
    assert all(client.runs.retrieve(run).status == "completed" for run in runs)


def test_failures_stay_with_their_request(http, agent, token):
    batch = create(http, [request(agent, f"[[error 400]] {token}"), request(agent, f"fine {token}")])
    done = ended(http, batch)
    assert done["status"] == "completed"
    assert [one["status"] for one in done["metadata"]["results"]] == ["failed", "completed"]
    assert done["metadata"]["results"][0]["error"]


def test_cancelling_stops_what_has_not_begun(http, agent, token):
    batch = create(http, [request(agent, f"[[hang]] {n} {token}") for n in range(4)])
    eventually(lambda: http.get(f"/v1/messages/batches/{batch['id']}").json()["status"] == "running", "it began")
    assert http.patch(f"/v1/messages/batches/{batch['id']}/cancel").status_code == 200
    done = http.get(f"/v1/messages/batches/{batch['id']}").json()
    assert done["status"] == "cancelled" and done["metadata"]["requests"]["cancelled"] >= 2
    again = http.patch(f"/v1/messages/batches/{batch['id']}/cancel")
    assert again.status_code == 409


def test_a_batch_ends_though_an_agent_of_it_is_deleted(client, http, agent, make_agent, model, token):
    gone = make_agent()
    batch = create(http, [request(one, f"[[hold {token}]]") for one in (gone, agent, gone)])
    eventually(lambda: list(client.runs.list(agent_id=gone.id)), "its first run began")
    client.agents.delete(gone.id)
    model.release(token)
    results = ended(http, batch)["metadata"]["results"]
    assert [one["status"] for one in results] == ["cancelled", "completed", "failed"]
    assert "deleted" in results[0]["error"] and "not found" in results[2]["error"]


def test_an_unknown_agent_or_an_empty_batch_is_refused(http, agent):
    unknown = {"agent_id": "agent-00000000-0000-4000-8000-0000000000ff", "messages": [user("hi")]}
    assert http.post("/v1/messages/batches", json={"requests": [unknown]}).status_code == 404
    assert http.post("/v1/messages/batches", json={"requests": []}).status_code == 400
    assert http.post("/v1/messages/batches", json={"requests": [{"messages": [user("hi")]}]}).status_code == 422


def test_batches_and_background_runs_are_jobs(client, http, agent, token):
    batch = create(http, [request(agent, f"as a job {token}")])
    run = client.agents.messages.create_async(agent.id, messages=[user(f"async {token}")])
    ended(http, batch)
    jobs = {job["id"]: job for job in http.get("/v1/jobs/").json()}
    assert jobs[batch["id"]]["job_type"] == "batch" and jobs[run.id]["job_type"] == "run"
    for job in (batch["id"], run.id):
        assert http.get(f"/v1/jobs/{job}").json()["id"] == job
    eventually(lambda: run.id not in [job["id"] for job in http.get("/v1/jobs/active").json()], "the run is over")
    assert http.delete(f"/v1/jobs/{batch['id']}").status_code == 200
    assert http.get(f"/v1/jobs/{batch['id']}").status_code == 404


def test_a_run_is_cancelled_as_a_job(client, http, agent, token):
    run = client.agents.messages.create_async(agent.id, messages=[user(f"[[hang]] {token}")])
    assert http.patch(f"/v1/jobs/{run.id}/cancel").json()["status"] == "cancelled"
    assert client.runs.retrieve(run.id).status == "cancelled"


def test_the_end_of_a_batch_is_posted_once(own_server, own_client, token):
    receiver = Receiver()
    try:
        server = own_server(MNEMIC_ALLOW_PRIVATE_URLS="true")
        sdk = own_client(server)
        agent = sdk.agents.create(model="openai-proxy/scripted")
        body = {"requests": [request(agent, token)], "callback_url": receiver.url}
        batch = sdk.post("/v1/messages/batches", body=body, cast_to=object)
        posted = eventually(lambda: receiver.posts, "the end is posted")
        assert posted[0][1]["job_id"] == batch["id"] and posted[0][1]["status"] == "completed"
        told = lambda: sdk.get(f"/v1/messages/batches/{batch['id']}", cast_to=object)["callback_status_code"]
        assert eventually(told, "it is noted") == 204 and len(receiver.posts) == 1
    finally:
        receiver.close()
