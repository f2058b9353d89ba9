"""The files of a data set by name, whether they lie in a folder, a zip or a tar; archives are read in place."""
