"""Four small convolutional networks on pairs of digits: data, layers, architectures, teacher, analysis, store."""

from lib.analysis import Analysis, Experiment, run_analysis, run_study
from lib.teacher import Teacher

__all__ = ["Analysis", "Experiment", "Teacher", "run_analysis", "run_study"]
