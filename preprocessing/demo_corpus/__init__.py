"""The demo corpus: people who do not exist, drawn and filmed, and five ways of faking them."""
