"""Validates command lines: composition, schema, this machine; reports errors. Imports no torch."""
