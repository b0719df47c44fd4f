"""The demo corpus: synthetic people, drawn and recorded with a camera model, and five face manipulations."""
