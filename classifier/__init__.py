"""Neighbours and vectors to decisions: vote, head, fusion, calibration, and their fitting."""
