"""A client that asks a bundle all that it must answer; the server never imports it."""
