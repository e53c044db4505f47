"""What emissions and latent structures share: their contract, known parameters, priors."""
