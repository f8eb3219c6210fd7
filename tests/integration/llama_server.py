"""llama.cpp's own HTTP server, as a program: `python llama_server.py MODEL KEY [embedding]`.

Writes its address to standard output, and ends when standard input does.
"""

import sys

import xllamacpp

if __name__ == "__main__":
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.model_alias = {"penstock-demo"}
    params.api_keys = [sys.argv[2]]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 2048
    params.n_parallel = 2
    params.warmup = False
    params.use_jinja = True
    if sys.argv[3:] == ["embedding"]:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(params)
    sys.stdout.write(server.listening_address + "\n")
    sys.stdout.flush()
    sys.stdin.read()
