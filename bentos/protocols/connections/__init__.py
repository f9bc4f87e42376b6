"""Incoming connections: addresses, TLS, listeners, and bounds on their number and memory."""
