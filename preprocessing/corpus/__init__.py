"""A folder of videos -> the index with method, label, split and identities of each video; and a validation report."""
