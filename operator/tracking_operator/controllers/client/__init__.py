"""The loop of a TrackingServerClient."""
