"""The TrackingServer: plan, ensure its stores, apply its objects, observe, report. A folder per question."""
