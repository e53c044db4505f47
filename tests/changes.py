"""Changes of data that law 8 foresees."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """A change of the data, and of the parameters with it.

    Attributes
    ----------
    rows, parameters, back : callable, of X, of named parameters and of changed named parameters
    log_likelihood : float, what it adds to the log-likelihood of every row
    precisions : tuple of str, those in which the law holds
    """

    name: str
    rows: object
    parameters: object
    back: object
    log_likelihood: float
    precisions: tuple
