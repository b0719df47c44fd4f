"""A checkpoint and crops -> scores, test results and plots."""
