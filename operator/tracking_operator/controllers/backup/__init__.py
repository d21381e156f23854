"""The loop of a TrackingServerBackup."""
