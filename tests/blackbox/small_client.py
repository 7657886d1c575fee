"""Our Python client, synchronous or asynchronous, called in the same way."""

import asyncio
import inspect

from mnemic import AsyncMnemicClient, LettaClient


class Caller:
    """Waits for what the asynchronous client answers, so that one test says what holds for both."""

    def __init__(self, kind, **options):
        self.loop = asyncio.new_event_loop() if kind == "async" else None
        self.client = (AsyncMnemicClient if self.loop else LettaClient)(**options)

    def wait(self, value):
        return self.loop.run_until_complete(value) if inspect.isawaitable(value) else value

    def __getattr__(self, name):
        """A method of the client."""
        return lambda *values, **named: self.wait(getattr(self.client, name)(*values, **named))

    def open(self, *values, **named):
        """A stream whose message has been sent."""
        stream = self.client.stream_message(*values, **named)
        return self.wait(stream.__aenter__()) if self.loop else stream.__enter__()

    def leave(self, stream):
        """Ends the `with` block of a stream."""
        return self.wait(stream.__aexit__(None, None, None)) if self.loop else stream.__exit__(None, None, None)

    def next(self, stream):
        return self.wait(anext(stream)) if self.loop else next(stream)

    def pieces(self, stream):
        async def collect():
            return [piece async for piece in stream]

        return self.wait(collect()) if self.loop else list(stream)

    def at_the_end(self, stream, name):
        """`memory`, `usage`, `text` or `stop_reason` of a stream."""
        return self.wait(getattr(stream, name)()) if self.loop else getattr(stream, name)

    def finish(self):
        self.close()
        if self.loop:
            self.loop.close()
