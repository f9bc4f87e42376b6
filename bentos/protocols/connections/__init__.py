"""Where connections come in: addresses, TLS, listeners, and how many there may be."""
