"""Four small convolutional networks on pairs of digits: data, layers, architectures, teacher, analysis, store."""

from lib.analysis import Experiment, Result, run_analysis, run_study
from lib.teacher import Teacher

__all__ = ["Experiment", "Result", "Teacher", "run_analysis", "run_study"]
