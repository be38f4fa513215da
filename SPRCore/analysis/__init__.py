"""What a registration is worth: the numbers of a report, figures for print and the folder of results."""
