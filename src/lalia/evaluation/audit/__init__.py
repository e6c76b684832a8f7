"""What else could explain a model's numbers: recordings, leakage, confounds, baselines, people."""

from lalia.evaluation.audit.baselines import nuisance_baselines, rater_agreement

__all__ = ["nuisance_baselines", "rater_agreement"]
