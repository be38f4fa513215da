"""Evaluation of registrations: rows of results, statistics, tables, figures and reports."""
