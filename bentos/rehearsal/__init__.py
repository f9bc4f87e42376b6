"""The rehearsal of a bundle: a client of all that the bundle must answer, never imported by the server."""
