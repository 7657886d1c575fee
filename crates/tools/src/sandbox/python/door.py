

class Door:
    """The way to the server's API: requests go over the call's own channel, one at a time."""

    def __init__(self, channel):
        import threading

        self._channel = channel
        self._turn = threading.Lock()

    def ask(self, method, path, content_type=None, body=b""):
        """The status, the content type and the body of the answer."""
        import base64

        asked = {"method": method, "path": path, "content_type": content_type, "body": base64.b64encode(body).decode()}
        text = json.dumps({"ask": asked}).encode()
        with self._turn:
            _write(self._channel, text)
            reply = json.loads(_frame(self._channel))
        return reply["status"], reply["content_type"], base64.b64decode(reply["body"])


class Client:
    """The SDK's client of this server, made when it is used."""

    def __init__(self, door):
        self.__dict__["_door"] = door

    def __getattr__(self, name):
        made = self.__dict__.get("_made")
        if made is None:
            made = self.__dict__["_made"] = _sdk(self.__dict__["_door"])
        return getattr(made, name)


def _sdk(door):
    try:
        import httpx
        import letta_client
    except ImportError as error:
        raise RuntimeError("this tool uses `client`: add letta-client to its pip_requirements") from error

    class Transport(httpx.BaseTransport):
        def handle_request(self, request):
            path = request.url.raw_path.decode("ascii")
            status, kind, body = door.ask(request.method, path, request.headers.get("content-type"), request.read())
            return httpx.Response(status, headers={"content-type": kind} if kind else {}, content=body, request=request)

    base, own = "http://mnemic", httpx.Client(transport=Transport(), base_url="http://mnemic", timeout=None)
    try:
        return letta_client.Letta(base_url=base, api_key="of-this-call", http_client=own, max_retries=0)
    except TypeError:
        return letta_client.Letta(base_url=base, token="of-this-call", httpx_client=own)


def _stub(door, path, name, parameters):
    """A function that calls a tool of the agent."""

    def call(*values, **named):
        if len(values) > len(parameters):
            raise TypeError(f"{name}() takes {len(parameters)} arguments, not {len(values)}")
        arguments = {**dict(zip(parameters, values)), **named}
        body = json.dumps({"args": _plain(arguments)}).encode()
        _, _, text = door.ask("POST", path, "application/json", body)
        answer = json.loads(text)
        if "status" not in answer:
            raise RuntimeError(f"{name}: {answer.get('detail', answer)}")
        for line in answer.get("stdout") or []:
            print(line)
        if answer["status"] != "success":
            raise RuntimeError(str(answer["func_return"]))
        return answer["func_return"]

    call.__name__ = call.__qualname__ = name
    return call
