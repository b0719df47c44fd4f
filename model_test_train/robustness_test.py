"""Deprecated alias of evaluate_robustness.py, kept for one more release."""

from model_test_train.evaluate_robustness import main
from pipeline.errors import run

if __name__ == "__main__":
    run(main)
