"""Hostile requests, generated and fuzzed."""
