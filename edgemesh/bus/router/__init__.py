"""The router: what leads Messages and requests from one RuleEndpoint to another."""
