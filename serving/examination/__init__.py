"""One file -> faces, scores and the evidence for the verdict."""
