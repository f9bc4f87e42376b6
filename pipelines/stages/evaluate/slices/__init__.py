"""Parts of the hold-out: declared slices, weak ones that are searched for, and protected groups; each figure with its bounds."""
