"""Quantiles that the intervals of imported tables need."""


def t_quantile(freedom: int) -> float:
    """The 97.5% quantile of Student's t distribution."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
