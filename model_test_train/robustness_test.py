"""Renamed: python model_test_train/evaluate_robustness.py. This name works for one more release."""

from model_test_train.evaluate_robustness import main
from pipeline.errors import run

if __name__ == "__main__":
    run(main)
