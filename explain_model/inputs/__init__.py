"""Inputs of the explain commands: samples and the results of the stage test."""
