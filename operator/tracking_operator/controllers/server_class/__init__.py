"""The TrackingServerClass: what it offers, whether its stores answer, and whether servers can be made from it."""
