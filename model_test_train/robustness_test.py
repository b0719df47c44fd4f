"""Deprecated alias of evaluate_robustness.py, kept for one more release."""

from explain_deepfakes.model_test_train.evaluate_robustness import main
from explain_deepfakes.pipeline.errors import run

if __name__ == "__main__":
    run(main)
