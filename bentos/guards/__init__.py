"""Access by API keys, and admission control."""
