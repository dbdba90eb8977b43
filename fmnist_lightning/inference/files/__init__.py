"""Predictions of image files: read and prepared in threads, written to a CSV file as they are computed."""
