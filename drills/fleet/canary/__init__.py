"""The judge of canaries, in simulated and in real rollouts."""
