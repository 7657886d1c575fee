// The handler of worker.ts for the edge runtime in which Next.js runs what is marked so.

import worker from "./worker.js";

interface FetchEvent extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

addEventListener("fetch", (event) => {
  const { request, respondWith } = event as FetchEvent;
  respondWith.call(event, worker.fetch(request));
});
