"""Train networks on crops, test them, and compute verdicts and metrics."""
