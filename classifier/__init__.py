"""Turn neighbours and vectors into decisions: vote, head, fusion, calibration, and their fitting."""
