// Runs one call of a tool in this process: reads it from a channel, answers there, and ends.
//
// Whatever is checked here, a tool can undo: it runs in the same interpreter. What holds, holds outside of it.
"use strict";
const fs = require("node:fs");
const vm = require("node:vm");
const nodeModule = require("node:module");

const CHANNEL = 0;
const exit = process.reallyExit.bind(process);
let file = "tool.js";

function exactly(length) {
    const bytes = Buffer.alloc(length);
    let place = 0;
    while (place < length) {
        const count = fs.readSync(CHANNEL, bytes, place, length - place, null);
        // The server let go: there is nothing to do.
        if (count === 0) exit(0);
        place += count;
    }
    return bytes;
}

function answer(value) {
    let text = Buffer.from(JSON.stringify(value));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    text = Buffer.concat([length, text]);
    for (let place = 0; place < text.length; ) {
        try {
            place += fs.writeSync(CHANNEL, text, place);
        } catch (error) {
            if (error.code !== "EAGAIN") exit(1);
        }
    }
    exit(0);
}

function raised(error) {
    const stack = error instanceof Error && error.stack ? error.stack : String(error);
    // Lines of the tool's source are what its author can use.
    const lines = stack.split("\n").filter((line) => !/^\s+at /.test(line) || line.includes(file));
    process.stderr.write(lines.join("\n") + "\n");
    const found = stack.match(new RegExp(`${file.replace(".", "\\.")}:(\\d+)`));
    let message = error instanceof Error ? error.message : String(error);
    // What fetch says is only that it failed.
    if (error instanceof Error && error.cause instanceof Error) message += ": " + error.cause.message;
    if (error && ["EPERM", "ENOSYS"].includes(error.code) && /connect|bind|listen|socket/.test(String(error.syscall)))
        message += ": this tool has no grant for the network";
    else if (error && ["ENOENT", "EACCES", "EPERM", "EROFS"].includes(error.code) && error.path && !within(error.path))
        message += `: this tool has no grant for the folder ${require("node:path").dirname(error.path)}`;
    answer({ raised: { kind: (error && error.name) || "Error", message: message.slice(0, 4000), line: found ? Number(found[1]) : null } });
}

// What Node itself offers for HTTP goes over the proxy: fetch, and the agents that http and https use by default.
function overProxy(port) {
    const http = require("node:http"), https = require("node:https"), net = require("node:net"), tls = require("node:tls");
    const connect = (secure, options, done) => {
        const host = String(options.hostname || options.host).replace(/^\[|\]$/g, "");
        const at = `${host.includes(":") ? `[${host}]` : host}:${options.port || (secure ? 443 : 80)}`;
        const asked = http.request({ host: "127.0.0.1", port, method: "CONNECT", path: at, agent: false });
        asked.once("error", done);
        asked.once("connect", (answer, socket) => {
            if (answer.statusCode !== 200) {
                socket.destroy();
                return done(new Error(answer.statusMessage));
            }
            if (!secure) return done(null, socket);
            const servername = options.servername || (net.isIP(host) ? "" : host);
            const wrapped = tls.connect({ ...options, host, socket, servername, ALPNProtocols: ["http/1.1"] });
            wrapped.once("error", done);
            wrapped.once("secureConnect", () => {
                wrapped.off("error", done);
                done(null, wrapped);
            });
        });
        asked.end();
    };
    http.globalAgent.createConnection = (options, done) => void connect(false, options, done);
    https.globalAgent.createConnection = (options, done) => void connect(true, options, done);
    // Looking at one of its classes loads what fetch is made of.
    void globalThis.Headers;
    for (const key of Object.getOwnPropertySymbols(globalThis).filter((one) => /undici\.globalDispatcher/.test(String(one)))) {
        const Agent = globalThis[key].constructor;
        globalThis[key] = new Agent({ connect: (options, done) => connect(options.protocol === "https:", options, done) });
    }
}

function within(path) {
    const whole = require("node:path").resolve(String(path));
    return whole.startsWith(home + "/") || whole.startsWith("/tmp/");
}

function javascript(request) {
    if (!request.typescript) return request.source;
    file = "tool.ts";
    if (!nodeModule.stripTypeScriptTypes) {
        if (isJavaScript(request.source)) return request.source;
        throw new Error(`TypeScript tools need Node 22.13 or newer, which can take types off; this is Node ${process.versions.node}`);
    }
    return nodeModule.stripTypeScriptTypes(request.source, { mode: "transform" });
}

// A source without types needs nothing taken off.
function isJavaScript(source) {
    try {
        return Boolean(new vm.SourceTextModule(source));
    } catch {
        return false;
    }
}

async function load(source, name) {
    // The function need not be exported: it is here, under a name that the source can't have.
    const exported = name === null ? "" : `\nexport { ${name} as "the tool" };`;
    const module = new vm.SourceTextModule(source + exported, {
        identifier: file,
        importModuleDynamically: (specifier) => import(specifier),
    });
    await module.link(async (specifier) => {
        const found = await import(specifier);
        const names = Object.keys(found);
        const made = new vm.SyntheticModule(names, () => names.forEach((one) => made.setExport(one, found[one])));
        return made;
    });
    await module.evaluate();
    return name === null ? null : module.namespace["the tool"];
}

async function called(source, request, injected) {
    const tool = await load(source, request.function);
    if (typeof tool !== "function") throw new TypeError(`the source has no function '${request.function}'`);
    return tool(...ordered(tool, request.arguments, injected));
}

// Runs a source; the value of its last expression, where it is a script. Modules have none.
async function lastValue(source) {
    let script;
    try {
        script = new vm.Script(source, { filename: file, importModuleDynamically: (specifier) => import(specifier) });
    } catch {
        // It imports or awaits; if it is no JavaScript at all, this says so.
        return load(source, null);
    }
    return script.runInThisContext();
}

// The agent that calls, as it was when the call began. Changes of its memory are written back.
function agentState(state) {
    const { blocks } = state.memory;
    const before = new Map(blocks.map((block) => [block.label, block.value]));
    const hidden = (name, value) => Object.defineProperty(state.memory, name, { value, enumerable: false });
    hidden("getBlock", (label) => {
        const found = blocks.find((block) => block.label === label);
        if (!found) throw new Error(`the agent has no memory block '${label}'; it has: ${[...before.keys()].join(", ")}`);
        return found;
    });
    hidden("updateBlockValue", (label, value) => {
        if (typeof value !== "string") throw new TypeError(`a block's value is a text, not ${typeof value}`);
        state.memory.getBlock(label).value = value;
    });
    hidden("changed", () => {
        const changed = blocks.filter((block) => block.value !== before.get(block.label));
        return Object.fromEntries(changed.map((block) => [block.label, String(block.value)]));
    });
    state.blocks = blocks;
    return state;
}

// Arguments come by name; where a function's parameters are names, they are put in that order.
function ordered(tool, given, injected) {
    const head = String(tool).match(/^(?:async\s+)?(?:function\s*\*?\s*[\w$]*\s*)?\(?([^)=]*)/);
    const names = head ? head[1].split(",").map((one) => one.trim()).filter(Boolean) : [];
    if (String(tool).match(/^(?:async\s+)?(?:function\s*\*?\s*[\w$]*\s*)?\(\s*\{/)) return [given];
    const known = Object.keys(given).every((one) => names.includes(one));
    return known ? names.map((one) => (one in given ? given[one] : injected[one])) : Object.values(given);
}

function isImage(bytes) {
    const head = bytes.subarray(0, 12).toString("latin1");
    return (
        ["\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "GIF87a", "GIF89a"].some((begin) => head.startsWith(begin)) ||
        (head.startsWith("RIFF") && head.endsWith("WEBP"))
    );
}

function plain(key, value) {
    if (typeof value === "bigint" || typeof value === "function" || typeof value === "symbol") return String(value);
    // A buffer has been made JSON by itself before this is asked.
    const bytes = this[key] instanceof Uint8Array ? Buffer.from(this[key]) : null;
    if (bytes !== null && isImage(bytes)) return { type: "image", source: { type: "base64", data: bytes.toString("base64") } };
    if (value instanceof Map) return Object.fromEntries(value);
    if (value instanceof Set) return [...value];
    return value;
}

let home = process.env.HOME;
async function main() {
    const request = JSON.parse(exactly(exactly(4).readUInt32LE()));
    home = process.env.HOME;
    for (const name of Object.keys(process.env)) delete process.env[name];
    Object.assign(process.env, request.variables);
    process.on("uncaughtException", raised);
    process.on("unhandledRejection", raised);
    // Where both ways of finding packages look, that of modules too.
    for (const folder of request.packages) fs.symlinkSync(folder + "/node_modules", home + "/node_modules");
    if (request.proxy) overProxy(request.proxy);
    globalThis.require = nodeModule.createRequire(home + "/");
    const source = javascript(request);
    const { injected } = request;
    if (injected.agent_state) injected.agent_state = agentState(injected.agent_state);
    const returned = request.function === null ? await lastValue(source) : await called(source, request, injected);
    const text = JSON.stringify(returned === undefined ? null : returned, plain);
    const value = JSON.parse(text === undefined ? "null" : text);
    const memory = injected.agent_state ? injected.agent_state.memory.changed() : {};
    answer(Object.keys(memory).length > 0 ? { changed: { value, memory } } : { value });
}

main().catch(raised);
