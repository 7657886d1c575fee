"""The built-in tools that look into the web: pages from this machine, and services with the real wire shapes."""

import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from programs import MODEL, Server, eventually
from talk import of_kind, send

ARTICLE = "The harbour of Bergen is old, and its wooden houses burned down more than once. " * 10
PAGE = f"""<!doctype html><html><head><title>Bergen &mdash; a town</title></head><body>
<nav><a href=/login>Log in</a></nav><main><h1>Bergen</h1><p>{ARTICLE}</p>
<p>See <a href="../ships?x=1">the ships</a>.</p></main><footer><p>All rights reserved by all.</p></footer>"""
BOMB = gzip.compress(b"\0" * 100_000_000)


class Site:
    """A web site with good and bad pages."""

    def __init__(self):
        self.open, self.at_once, self.lock = 0, 0, threading.Lock()
        self.release = threading.Event()
        site = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                try:
                    site.answer(self, self.path.partition("?")[0])
                except OSError:
                    pass  # the client had enough

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request, path):
        html = "text/html; charset=utf-8"
        if path == "/a/page":
            return self.send(request, html, PAGE.encode())
        if path == "/packed":
            return self.send(request, html, gzip.compress(PAGE.encode()), **{"content-encoding": "gzip"})
        if path == "/bomb":
            return self.send(request, html, BOMB, **{"content-encoding": "gzip"})
        if path == "/latin":
            return self.send(request, "text/html; charset=iso-8859-1", "<p>Tromsø".encode("latin-1"))
        if path == "/json":
            return self.send(request, "application/json", b'{"a": [1, 2]}')
        if path == "/pdf":
            return self.send(request, "application/pdf", b"%PDF-1.7")
        if path == "/deep":
            return self.send(request, html, b"<div><b>" * 100_000 + b"the bottom")
        if path == "/long":
            return self.send(request, "text/plain", b"word " * 100_000)
        if path == "/endless":
            return self.endless(request)
        if path == "/loop":
            return self.send(request, html, b"", status=302, location="/loop")
        if path == "/moved":
            return self.send(request, html, b"", status=301, location="/a/page")
        if path == "/slow":
            return self.slow(request)
        return self.send(request, html, b"<p>gone", status=404)

    def send(self, request, kind, body, status=200, **headers):
        request.send_response(status)
        request.send_header("content-type", kind)
        request.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def endless(self, request):
        request.send_response(200)
        request.send_header("content-type", "text/html")
        request.end_headers()
        while True:
            request.wfile.write(b"<p>and so on" * 1_000)

    def slow(self, request):
        with self.lock:
            self.open += 1
            self.at_once = max(self.at_once, self.open)
        self.release.wait(20)
        with self.lock:
            self.open -= 1
        self.send(request, "text/plain", b"at last")

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def site():
    made = Site()
    yield made
    made.close()


@pytest.fixture(scope="module")
def web(engine, model):
    """A server that may read pages of this machine, and searches at services on this machine."""
    running = Server(engine, model, MNEMIC_ALLOW_PRIVATE_URLS="true", **services(model)).start()
    yield running
    running.close()


def services(model):
    return {
        "MNEMIC_EXA_BASE_URL": f"http://{model.address}/exa",
        "MNEMIC_TAVILY_BASE_URL": f"http://{model.address}/tavily",
        "MNEMIC_BRAVE_BASE_URL": f"http://{model.address}/brave/",
    }


def agent_with_web(sdk, **fields):
    return sdk.agents.create(model=MODEL, tools=["fetch_webpage", "web_search"], **fields)


def call(sdk, agent, name, **arguments):
    """What the agent's tool returns."""
    answer = send(sdk, agent, f"[[call {name} {json.dumps(arguments)}]]")
    [returned] = of_kind(answer.messages, "tool_return_message")
    return returned


def fetch(sdk, agent, url):
    return call(sdk, agent, "fetch_webpage", url=url)


def test_both_are_there_and_no_agent_has_them_without_being_asked(client, agent):
    tools = {tool.name: tool for tool in client.tools.list(limit=200)}
    for name in ("web_search", "fetch_webpage"):
        assert tools[name].tool_type == "letta_builtin"
        assert tools[name].enable_parallel_execution
    assert not {"web_search", "fetch_webpage"} & {tool.name for tool in agent.tools}


def test_a_page_is_read_as_markdown_with_title_and_final_address(web, own_client, site):
    sdk = own_client(web)
    agent = agent_with_web(sdk)
    for path in ("/a/page", "/packed", "/moved"):
        returned = fetch(sdk, agent, site.url + path)
        assert returned.status == "success"
        lines = returned.tool_return.split("\n")
        final = path if path == "/packed" else "/a/page"
        assert lines[:3] == ["Title: Bergen — a town", f"URL: {site.url}{final}", ""]
        assert lines[3] == "# Bergen"
        assert f"[the ships]({site.url}/ships?x=1)" in returned.tool_return
        assert "Log in" not in returned.tool_return
        assert "rights" not in returned.tool_return
    assert "Tromsø" in fetch(sdk, agent, f"{site.url}/latin").tool_return
    assert fetch(sdk, agent, f"{site.url}/json").tool_return.endswith('\n{"a": [1, 2]}')


def test_a_long_page_is_cut_to_the_limit_of_the_tool(web, own_client, site):
    sdk = own_client(web)
    agent = agent_with_web(sdk)
    text = fetch(sdk, agent, f"{site.url}/long").tool_return
    assert len(text) < 50_200
    assert "[cut: 50000 of " in text


@pytest.mark.parametrize(
    "path, reason",
    [
        ("/bomb", "larger than"),
        ("/endless", "larger than"),
        ("/loop", "redirects more than 5 times"),
        ("/pdf", "application/pdf"),
        ("/missing", "status 404"),
    ],
)
def test_a_page_that_cannot_be_read_says_why(web, own_client, site, path, reason):
    sdk = own_client(web)
    agent = agent_with_web(sdk)
    returned = fetch(sdk, agent, site.url + path)
    assert returned.status == "error"
    assert reason in returned.tool_return
    assert send(sdk, agent, "[[echo]] still there").messages


def test_a_page_of_endless_depth_is_read(web, own_client, site):
    sdk = own_client(web)
    assert "the bottom" in fetch(sdk, agent_with_web(sdk), f"{site.url}/deep").tool_return


def test_private_addresses_and_other_schemes_are_refused(client, make_agent, site):
    agent = make_agent(tools=["fetch_webpage"])
    for url in (site.url, "http://169.254.169.254/latest/meta-data", "http://localhost:1/", "file:///etc/passwd"):
        returned = fetch(client, agent, url)
        assert returned.status == "error"
        assert "public address" in returned.tool_return or "http://" in returned.tool_return
    assert site.at_once == 0


def test_several_pages_of_one_step_are_read_at_once_and_returned_in_order(web, own_client, site):
    sdk = own_client(web)
    agent = agent_with_web(sdk)
    urls = [f"{site.url}/slow?n=1", f"{site.url}/slow?n=2", f"{site.url}/a/page"]
    calls = "".join(f"[[call fetch_webpage {json.dumps({'url': url})}]]" for url in urls)
    freed = threading.Thread(target=lambda: (eventually(lambda: site.open == 2, "both wait"), site.release.set()))
    freed.start()
    answer = send(sdk, agent, calls)
    freed.join()
    texts = [
        returned.tool_return
        for message in of_kind(answer.messages, "tool_return_message")
        for returned in message.tool_returns or [message]
    ]
    assert [url in text for url, text in zip(urls, texts)] == [True] * 3
    assert site.at_once == 2


def test_a_cancel_ends_a_fetch_at_once(web, own_client, site):
    sdk = own_client(web)
    agent = agent_with_web(sdk)
    text = f"[[call fetch_webpage {json.dumps({'url': site.url + '/slow'})}]]"
    run = sdk.agents.messages.create_async(agent.id, messages=[{"role": "user", "content": text}])
    eventually(lambda: site.open == 1, "the page is asked for")
    begun = time.monotonic()
    sdk.agents.messages.cancel(agent.id)
    eventually(lambda: sdk.runs.retrieve(run.id).status == "cancelled", "the run ends")
    assert time.monotonic() - begun < 5
    assert send(sdk, agent, "[[echo]] still there").messages


def search(sdk, agent, **arguments):
    returned = call(sdk, agent, "web_search", query="ships", **arguments)
    assert returned.status == "success", returned.tool_return
    return json.loads(returned.tool_return)


def test_each_service_is_asked_as_it_wants_to_be(web, own_client):
    sdk = own_client(web)
    own = lambda name: agent_with_web(sdk, secrets={name: "search-key"})

    found = search(sdk, own("EXA_API_KEY"), num_results=3, include_domains=["example.org"])
    assert found["query"] == "ships"
    first = found["results"][0]
    assert (first["title"], first["url"]) == ("Exa: ships", "https://ships.example.org/a")
    assert first["published_date"].startswith("2026-05-01")
    asked = json.loads(first["snippet"].rpartition(" … ")[0])
    assert (asked["numResults"], asked["includeDomains"]) == (3, ["example.org"])
    assert "text" in search(sdk, own("EXA_API_KEY"), include_text=True)["results"][0]

    found = search(sdk, own("TAVILY_API_KEY"), category="news", include_text=True)
    assert found["results"][0]["text"] == "the whole page"
    assert json.loads(found["results"][0]["snippet"])["topic"] == "news"

    found = search(sdk, own("BRAVE_API_KEY"), include_domains=["example.org"], category="pdf")
    assert [result["title"] for result in found["results"]] == ["Brave: ships"]
    assert found["not_applied"] == ["category"]


def test_a_searxng_of_ones_own_needs_no_key(own_server, own_client, model):
    server = own_server(MNEMIC_SEARXNG_URL=f"http://{model.address}/searxng")
    sdk = own_client(server)
    assert search(sdk, agent_with_web(sdk))["results"][0]["title"] == "SearXNG: ships"


def test_the_servers_key_serves_agents_without_one(own_server, own_client, model):
    server = own_server(TAVILY_API_KEY="search-key", **services(model))
    sdk = own_client(server)
    assert search(sdk, agent_with_web(sdk))["results"][0]["title"] == "Tavily: ships"


def test_without_a_service_or_with_a_wrong_key_the_model_is_told_what_to_set(web, own_client):
    sdk = own_client(web)
    returned = call(sdk, agent_with_web(sdk), "web_search", query="ships")
    assert returned.status == "error"
    assert "EXA_API_KEY, TAVILY_API_KEY or BRAVE_API_KEY" in returned.tool_return
    wrong = call(sdk, agent_with_web(sdk, secrets={"EXA_API_KEY": "wrong"}), "web_search", query="ships")
    assert "Exa refuses the key (status 401)" in wrong.tool_return
    assert "wrong" not in wrong.tool_return.replace("check EXA_API_KEY", "")
