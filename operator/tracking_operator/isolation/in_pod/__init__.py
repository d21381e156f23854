"""What a team tries from a pod of its own, with the credentials that the operator wrote into its namespace."""
