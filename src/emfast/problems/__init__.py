"""What the driver runs: latent structures with emissions, and models that are on no such grid."""
