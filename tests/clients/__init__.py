"""Clients of other languages and tools, asked to do the same: docs/reference/clients-tried.md says what each of them gets.

    python -m tests.clients BUNDLE      run every client that is there and write the table

`programs/` has one program a client: it is given an address and files, asks for the health, sends each file over one connection with
its defaults, and prints a line an answer: the status and the body. HTTP bodies are those of /predict; gRPC's are ModelInferRequests.
"""
