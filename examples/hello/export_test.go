package main

// Main is the program, for its test.
var Main = main
