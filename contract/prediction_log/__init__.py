"""The prediction log: its records, and the settings that turn it on."""
