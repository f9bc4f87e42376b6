"""The conversion of one value: kinds, texts, timestamps, and the names of the source."""
