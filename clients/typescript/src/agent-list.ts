import type { Agent } from "./types.js";

/**
 * All agents: awaited, an array of them. One can also be looked for, or all be walked through, while the pages come.
 * Nothing is asked before one of these is done.
 */
export class AgentList implements Promise<Agent[]>, AsyncIterable<Agent> {
  readonly [Symbol.toStringTag] = "AgentList";
  private all: Promise<Agent[]> | undefined;

  constructor(private readonly walk: () => AsyncGenerator<Agent, void, void>) {}

  /** The first agent for which `test` holds; reads no more pages than it needs. */
  async find(test: (agent: Agent) => boolean): Promise<Agent | undefined> {
    for await (const agent of this) if (test(agent)) return agent;
    return undefined;
  }

  [Symbol.asyncIterator](): AsyncGenerator<Agent, void, void> {
    return this.walk();
  }

  then<A = Agent[], B = never>(
    fulfilled?: ((agents: Agent[]) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.array().then(fulfilled, rejected);
  }

  catch<B = never>(rejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<Agent[] | B> {
    return this.array().catch(rejected);
  }

  finally(done?: (() => void) | null): Promise<Agent[]> {
    return this.array().finally(done);
  }

  private array(): Promise<Agent[]> {
    return (this.all ??= collect(this));
  }
}

async function collect(agents: AsyncIterable<Agent>): Promise<Agent[]> {
  const all: Agent[] = [];
  for await (const agent of agents) all.push(agent);
  return all;
}
