"""Tag groups found in the labels themselves: columns, head words of free tags, yes/no attributes."""
