"""An OpenID provider for tests: users that are disabled, groups that change, tokens with whatever is wrong."""
