"""What you believe: causal models and their counterfactual answers. Imports no torch."""
