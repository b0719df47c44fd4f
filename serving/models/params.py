"""Settings of the model registry."""

MARGIN = 0.02  # loss of video-level AUC that a promotion must rule out
TOKEN_VARIABLE = "SERVER_TOKEN"  # a flag would show the token in the list of processes
SERVER_HELP = f"wait until the server at this URL uses the checkpoint; if it needs a token, set {TOKEN_VARIABLE} to it"
