"""Hostile requests, drawn and fuzzed."""
