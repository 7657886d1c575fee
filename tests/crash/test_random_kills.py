"""Seeded kills at random moments under load. KILLS sets how many; 30 unless told."""

import os
import random
import threading
import time
import uuid

from harness import Gone, check

KILLS = int(os.environ.get("KILLS", "30"))
SEED = int(os.environ.get("SEED", "20261123"))
TEXTS = [
    "hello {}",
    "remember {}",
    "count {} [[call external_counter {{}}]]",
    "wait {} [[sleep 20]]",
]


def test_kills_at_random_moments_lose_nothing(server):
    chance = random.Random(SEED)
    server.start()
    agents = [server.make_agent() for _ in range(3)]
    acknowledged = {agent: [] for agent in agents}
    sent = {agent: [] for agent in agents}
    for _ in range(KILLS):
        if not server.is_alive():
            server.start()
        stop = threading.Event()

        def talk(agent, seed):
            own = random.Random(seed)
            while not stop.is_set():
                token = str(uuid.UUID(int=own.getrandbits(128), version=4))
                sent[agent].append(token)
                try:
                    status, _ = server.send(agent, own.choice(TEXTS).format(token))
                    if status == 200:
                        acknowledged[agent].append(token)
                except Gone:
                    return

        talkers = [threading.Thread(target=talk, args=(a, chance.getrandbits(64))) for a in agents]
        for talker in talkers:
            talker.start()
        # The moment of the kill is what is random here; nothing is waited for.
        time.sleep(chance.uniform(0.01, 0.4))
        server.kill()
        stop.set()
        for talker in talkers:
            talker.join()
    server.start()
    for agent in agents:
        check(server, agent, acknowledged[agent], sent[agent])
    assert sum(map(len, acknowledged.values())) > KILLS, "the kills left time for turns"
