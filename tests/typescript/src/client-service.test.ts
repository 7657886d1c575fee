// A service of a product, written against nothing but the client's documented names: only its import names the package.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { LettaClient } from "@mnemic/client";
import { ENGINES, MODEL, ScriptedModel, Server } from "./programs.js";

class CompanionService {
  private client: LettaClient;
  private agentId: string | null = null;

  constructor() {
    this.client = new LettaClient({
      apiKey: process.env["LETTA_API_KEY"] || "local",
      baseUrl: process.env["LETTA_BASE_URL"] || "http://localhost:8283",
    });
  }

  async initialize(name: string, model: string): Promise<string> {
    const agents = await this.client.listAgents();
    const existing = agents.find((a) => a.name === name);
    if (existing) {
      this.agentId = existing.id;
      return existing.id;
    }
    const agent = await this.client.createAgent({
      name,
      persona: "I am Juno. I am warm, and I remember the people I talk to.",
      human: "I do not know this person yet.",
      model,
      embeddingConfig: { embedding_model: "letta-free", embedding_endpoint_type: "openai", embedding_dim: 1536 },
    });
    this.agentId = agent.id;
    return agent.id;
  }

  async chat(message: string, userId: string) {
    if (!this.agentId) throw new Error("initialize first");
    const response = await this.client.sendMessage(this.agentId, { message, userId });
    return {
      content: response.messages[0].content,
      memory: response.memory,
      usage: response.usage,
    };
  }

  async recall(query: string, userId: string) {
    if (!this.agentId) throw new Error("initialize first");
    return this.client.searchMemory(this.agentId, { query, limit: 5, userId });
  }

  async note(content: string, userId: string) {
    if (!this.agentId) throw new Error("initialize first");
    await this.client.addMemory(this.agentId, { content, type: "core_memory", userId });
  }

  async learn(content: string, userId: string) {
    if (!this.agentId) throw new Error("initialize first");
    await this.client.addMemory(this.agentId, { content, type: "archival_memory", userId });
  }
}

for (const engine of ENGINES) {
  describe(`a product's service on ${engine}`, () => {
    let model: ScriptedModel;
    let server: Server;

    before(async () => {
      model = await ScriptedModel.start();
      server = await Server.make(engine, model);
      await server.start();
      process.env["LETTA_BASE_URL"] = server.url;
    });

    after(async () => {
      delete process.env["LETTA_BASE_URL"];
      await server.close();
      await model.stop();
    });

    test("the service makes its agent once, remembers each person, and mixes nobody up", async () => {
      const service = new CompanionService();
      const id = await service.initialize("juno", MODEL);
      assert.equal(await new CompanionService().initialize("juno", MODEL), id);

      const told = await service.chat("Please remember that my boat is called Heron.", "ada");
      assert.match(told.content, /^Done/);
      assert.match(told.memory.blocks.find(({ label }) => label === "human")!.after, /Heron/);
      assert.ok(told.usage.totalTokens > 0);
      await service.learn("Ada berths her boat at the north pier.", "ada");
      await service.note("Ada is left-handed.", "ada");

      await server.kill();
      await server.start();

      const found = await service.recall("where is the boat?", "ada");
      assert.match(found[0]!.content, /north pier/);
      assert.equal((await service.chat("[[echo]] hello again", "ada")).content, "[[echo]] hello again");
      assert.match(await model.lastRequest("hello again"), /Heron.*left-handed/s);

      assert.deepEqual(await service.recall("where is the boat?", "bob"), []);
      await service.chat("[[echo]] who am I?", "bob");
      assert.doesNotMatch(await model.lastRequest("who am I?"), /Heron|pier|left-handed/);
    });
  });
}
