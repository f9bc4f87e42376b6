"""The integrity of the files in DVC: checked before use, and repaired from a good copy."""
