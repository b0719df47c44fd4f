"""Train, test and explain every network of a folder of YAMLs, and compare them in a table."""
