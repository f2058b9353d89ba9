"""Text files with a row for each image: tables with a header, attribute lists, and the reports' formats."""
