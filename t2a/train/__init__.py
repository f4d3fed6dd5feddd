"""Training: the loop, its engines, checkpoints, tracking, and the driver that runs them on a cluster."""
