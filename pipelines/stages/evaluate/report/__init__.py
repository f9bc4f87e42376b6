"""The report for people: the page, its pictures, and the curves that they draw."""
