"""The HTTP front end: `/predict`, the Open Inference Protocol, and the pages for people and probes, over connections of our own."""
