"""The contract with users: both custom resources as pydantic models, conditions, and the CRDs made from them."""
