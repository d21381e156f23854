"""How what a step found out becomes conditions."""
