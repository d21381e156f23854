"""The control loop: a short list of steps, each turning facts into one condition."""
