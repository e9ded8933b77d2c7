package commit

// LingerMax is how long a cycle waits at most for callers to come again.
const LingerMax = lingerMax
