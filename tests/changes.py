"""Changes of data that law 8 foresees."""

from dataclasses import dataclass


def nothing(X):
    return 0.0


@dataclass(frozen=True)
class Change:
    """A change of the data, and of the parameters with it.

    Attributes
    ----------
    rows, parameters, back : callable, of X, of named parameters and of changed named parameters
    log_likelihood : callable, of X, what it adds to the mean log-likelihood of the rows
    precisions : tuple of str, those in which the law holds
    """

    name: str
    rows: object
    parameters: object
    back: object
    log_likelihood: object
    precisions: tuple
