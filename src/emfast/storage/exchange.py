"""Gaussian mixtures as scikit-learn has them, and back.

scikit-learn's mixtures take as long to import as all of this package, and few need them.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture as SklearnMixture

    from emfast.estimators.mixture import GaussianMixture

# Starts that scikit-learn does not know of begin like this there.
OTHER_INIT_PARAMS = "kmeans"

# Fitted attributes that are alike, besides the parameters.
COMMON = ("converged_", "n_iter_", "lower_bound_", "n_features_in_", "feature_names_in_")
PARAMETERS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


def to_sklearn(mixture: "GaussianMixture") -> "SklearnMixture":
    """See `GaussianMixture.to_sklearn`."""
    from sklearn.mixture import GaussianMixture as SklearnMixture

    check_is_fitted(mixture)
    if mixture._has_noise:
        raise ValueError(
            "to_sklearn: found a mixture with noise; expected noise=False, for scikit-learn has no "
            "component that is uniform"
        )
    arguments = _shared_arguments(mixture, SklearnMixture())
    if arguments["init_params"] not in ("kmeans", "k-means++", "random", "random_from_data"):
        arguments["init_params"] = OTHER_INIT_PARAMS
    for name in ("weights_init", "means_init", "precisions_init"):
        # Lists with None for components that begin anyhow, and "equal", are emfast's own.
        if not _is_numeric(arguments[name]):
            arguments[name] = None
    other = SklearnMixture(**arguments)
    for name in PARAMETERS:
        setattr(other, name, np.array(getattr(mixture, name)))
    other.lower_bounds_ = mixture.lower_bounds_.tolist() if _was_fitted(mixture) else []
    return _with_common(other, mixture)


def from_sklearn(kind: type["GaussianMixture"], other: Any) -> "GaussianMixture":
    """See `GaussianMixture.from_sklearn`."""
    from sklearn.mixture import GaussianMixture as SklearnMixture

    if not isinstance(other, SklearnMixture):
        raise TypeError(
            f"mixture: found {type(other).__name__}; expected a sklearn.mixture.GaussianMixture"
        )
    check_is_fitted(other)
    mixture = kind(**_shared_arguments(other, kind()))
    # The float64 model is made of what scikit-learn computes densities with.
    for name in PARAMETERS:
        setattr(mixture, name, np.array(getattr(other, name)))
    mixture._set_model(mixture._model(), other.means_.dtype)
    mixture.lower_bounds_ = np.array(getattr(other, "lower_bounds_", []), np.float64)
    mixture._history = mixture.lower_bounds_[-2:].tolist()
    mixture.restarts_ = []
    return _with_common(mixture, other)


def _shared_arguments(estimator: BaseEstimator, other: BaseEstimator) -> dict[str, Any]:
    """The arguments that both know."""
    names = estimator.get_params(deep=False).keys() & other.get_params(deep=False).keys()
    return {name: getattr(estimator, name) for name in names}


def _is_numeric(values: Any) -> bool:
    try:
        return not np.isnan(np.asarray(values, np.float64)).any()
    except (TypeError, ValueError):
        return False


def _was_fitted(mixture: "GaussianMixture") -> bool:
    """Rather than made of another mixture, as marginals are."""
    return hasattr(mixture, "lower_bounds_")


def _with_common(to: Any, of: Any) -> Any:
    for name in COMMON:
        if hasattr(of, name):
            setattr(to, name, getattr(of, name))
    return to
