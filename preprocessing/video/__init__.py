"""Video files -> facts about them, and their frames as pictures."""
