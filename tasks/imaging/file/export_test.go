package file

// Lock is what a writer does, for tests.
var Lock = lock
