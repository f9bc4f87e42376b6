"""The bytes that DVC keeps: checked before they are used, and healed where a good copy exists."""
