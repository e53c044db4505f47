"""The estimators that people use: each names its emission and latent structure."""
