"""What you study: torch modules as causal systems whose variables are features at sites."""
