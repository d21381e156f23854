"""What keeps the operator running: informers, work queue, workers, leader lease, health and metrics."""
