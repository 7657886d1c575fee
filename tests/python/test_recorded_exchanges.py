"""Every exchange that was recorded with the old server, replayed: answers have the recorded shape, or a listed reason."""

import httpx

from recorded import PASSWORD, TOGETHER, Listed, Replay


def test_the_recorded_exchanges_have_the_shapes_of_the_recording(engine, own_server, model, record_property):
    listed = Listed()
    # The recording adds a provider on the machine itself.
    server = own_server(MNEMIC_ALLOW_PRIVATE_URLS="true")
    locked = own_server(LETTA_SERVER_SECURE="true", LETTA_SERVER_PASSWORD=PASSWORD)
    background = own_server()
    unlisted = []
    for one, files in ((server, TOGETHER), (locked, ["auth"]), (background, ["background_redis"])):
        with httpx.Client(base_url=one.url, timeout=60) as http:
            replay = Replay(http, listed, model)
            for file in files:
                replay.run(file)
        record_property("told", f"{engine}, {len(files)} recordings: {replay.summary()}")
        unlisted += [difference.row() for difference in replay.unlisted]
    assert not unlisted, "differences without a reason:\n" + "\n".join(unlisted)
    outdated = listed.outdated()
    assert not outdated, "compared equal, so that they need not be left out as not built yet:\n" + "\n".join(outdated)
    gone = [f"{row['exchange']}\t{row['place']}\t{row['recorded']}\t{row['ours']}" for row in listed.gone()]
    assert not gone, "listed differences that are there no more:\n" + "\n".join(gone)
